// What a visitor does, as calls of Segment's specification; the same for every client (story.json).
import { readFileSync } from 'node:fs'

const TEXT = readFileSync(new URL('story.json', import.meta.url), 'utf8')
const MINUTE = 60_000

// The calls of one `person` (or `some` of them), with ids (`seed` and a number from `first` on) and times in ms.
export function story(person, first, seed, some = [0]) {
  const start = Date.now() - MINUTE
  return JSON.parse(TEXT.replaceAll('{person}', person)).slice(...some).map((call, number) => ({
    ...call,
    messageId: `${seed}-${first + number}`,
    timestamp: start + 1000 * number,
  }))
}
