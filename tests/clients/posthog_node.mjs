// posthog-node through its whole repertoire: every call, gzip (its default) and plain, batches, flush and shutdown.
//
//     node tests/clients/posthog_node.mjs BASE KEY SEED    # prints what it was asked to send
import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { PostHog } from 'posthog-node'

const { version } = JSON.parse(readFileSync(new URL('node_modules/posthog-node/package.json', import.meta.url)))
const [base, key, seed] = process.argv.slice(2)
const asked = []

const uuid = (number) =>
  createHash('md5').update(`${seed}-${number}`).digest('hex').replace(/(.{8})(.{4}).(.{3}).(.{3})(.{12})/, '$1-$2-4$3-8$4-$5')

// What a visitor does, in PostHog's words. Only `capture` can be given an id and a time.
async function tell(client, person) {
  const [device, user] = [`device-${person}`, `user-${person}`]
  const start = Date.now() - 60_000
  const capture = (event, distinctId, properties, method = 'capture') => {
    const at = start + 1000 * (asked.length % 60)
    const told = { call: 'capture', event, distinct_id: distinctId, properties, uuid: uuid(asked.length), timestamp: at }
    asked.push(told)
    return client[method]({ distinctId, event, properties, timestamp: new Date(at), uuid: told.uuid })
  }
  const tent = { product_id: 'tent', name: 'Zelt „Größe 2“ 🏕', price: 249.5, currency: 'EUR' }
  const page = { $current_url: 'https://shop.example/tents?colour=grün', $pathname: '/tents', title: 'Tents' }
  const odd = { text: 'a "quoted" \\ line\n', yes: true, number: 1234567890123, none: null, list: [1, 'b', null] }
  const order = { order_id: `order-${person}`, total: 499, currency: 'EUR', products: [{ ...tent, quantity: 2 }] }
  capture('$pageview', device, page)
  capture('Product Viewed', device, tent)
  capture('Product Added', device, { ...tent, cart_id: `cart-${person}`, quantity: 2 })
  const traits = { email: `${user}@example.org`, name: 'Änne' }
  client.identify({ distinctId: user, properties: { $anon_distinct_id: device, $set: traits } })
  asked.push({ call: 'identify', distinct_id: user, anonymous: device, properties: traits })
  capture('Feature Tried', user, { ...odd, part: { depth: 2 } })
  capture('Order Completed', user, order)
  capture('$screen', user, { $screen_name: 'Basket' })
  client.setPersonProperties({ distinctId: user, properties: { plan: 'gold' } })
  asked.push({ call: 'set', distinct_id: user, properties: { plan: 'gold' } })
  const group = { groupType: 'club', groupKey: `club-${person}`, properties: { name: 'Climbers' } }
  client.groupIdentify({ ...group, distinctId: user })
  asked.push({
    call: 'group_identify',
    distinct_id: user,
    group_type: 'club',
    group_key: group.groupKey,
    properties: group.properties,
  })
  client.alias({ distinctId: user, alias: `old-${person}` })
  asked.push({ call: 'alias', distinct_id: user, previous_id: `old-${person}` })
  client.captureException(new Error('no tent'), user)
  asked.push({ call: 'exception', distinct_id: user })
  await capture('Checkout Started', user, { cart_id: `cart-${person}` }, 'captureImmediate')
}

const failed = []
const alive = setInterval(() => {}, 1_000) // its newer protocol's pauses before it sends again don't keep Node alive
for (const [person, options] of [
  [`${seed}-gzip`, { flushAt: 5 }],
  [`${seed}-plain`, { disableCompression: true }],
]) {
  const client = new PostHog(key, { host: base, flushInterval: 200, fetchRetryDelay: 300, ...options })
  client.on('error', (error) => failed.push(String(error)))
  await tell(client, person)
  await client.flush()
  await client.shutdown()
}
clearInterval(alive)
console.log(JSON.stringify({ client: `posthog-node ${version}`, asked, failed }))
