// @segment/analytics-node through its whole repertoire: every call, batches, flush and closeAndFlush.
//
//     node tests/clients/segment_node.mjs BASE KEY SEED    # prints what it was asked to send
import { Analytics } from '@segment/analytics-node'
import { story } from './story.mjs'

const [base, key, seed] = process.argv.slice(2)
const asked = []

function tell(analytics, person) {
  for (const call of story(person, asked.length, seed)) {
    const { type, ...what } = structuredClone(call) // a copy: it writes into what it is given
    analytics[type]({ ...what, timestamp: new Date(call.timestamp) })
    asked.push(call)
  }
}

const failed = []
const batches = new Analytics({ writeKey: key, host: base, flushAt: 4, flushInterval: 100 })
batches.on('error', (error) => failed.push(error))
tell(batches, `${seed}-batch`)
await batches.flush()
await batches.closeAndFlush()
const single = new Analytics({ writeKey: key, host: base, flushAt: 1 })
single.on('error', (error) => failed.push(error))
tell(single, `${seed}-single`)
await single.closeAndFlush({ timeout: 20_000 })
if (failed.length) throw new Error(JSON.stringify(failed))
console.log(JSON.stringify({ client: `@segment/analytics-node ${batches.VERSION}`, asked }))
