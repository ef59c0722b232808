// @rudderstack/rudder-sdk-node through its whole repertoire: every call, gzip (its default) and plain, batches, flush.
//
//     node tests/clients/rudder_node.mjs BASE KEY SEED    # prints what it was asked to send
import { createRequire } from 'node:module'
import { story } from './story.mjs'

const require = createRequire(import.meta.url)
const Analytics = require('@rudderstack/rudder-sdk-node')
const { version } = require('@rudderstack/rudder-sdk-node/package.json')

const [base, key, seed] = process.argv.slice(2)
const asked = []

async function tell(person, options) {
  const analytics = new Analytics(key, { dataPlaneUrl: base, flushInterval: 200, logLevel: 'none', ...options })
  const answers = story(person, asked.length, seed).map((call) => {
    const { type, timestamp, ...what } = call
    asked.push(call)
    return new Promise((resolve, reject) =>
      analytics[type]({ ...what, originalTimestamp: new Date(timestamp) }, (error) => (error ? reject(error) : resolve())),
    )
  })
  await analytics.flush()
  await Promise.all(answers)
}

await tell(`${seed}-gzip`, {})
await tell(`${seed}-plain`, { gzip: false, flushAt: 4 })
console.log(JSON.stringify({ client: `@rudderstack/rudder-sdk-node ${version}`, asked }))
