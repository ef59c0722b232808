// @segment/analytics-next in Chromium through its whole repertoire: every call, one by one and in batches, while
// offline, over a reload, and what is left in a batch when the page is left.
//
//     node tests/clients/analytics_next.mjs BASE KEY SEED    # prints what it was asked to send
import { readFileSync } from 'node:fs'
import { launch, serve } from './browser.mjs'
import { story } from './story.mjs'

const NEXT = new URL('node_modules/@segment/analytics-next/package.json', import.meta.url)
const { version } = JSON.parse(readFileSync(NEXT))
const [base, key, seed] = process.argv.slice(2)
const { host } = new URL(base)
const PATIENCE = Number(process.env.PATIENCE_MS ?? 30_000)

const shop = await serve()
const browser = await launch()
const asked = []
const arrived = new Set() // ids of messages that were answered well

async function visit(context, delivery) {
  const segment = { apiHost: `${host}/v1`, protocol: 'http', ...(delivery && { deliveryStrategy: delivery }) }
  const options = JSON.stringify({ integrations: { 'Segment.io': segment } })
  const page = await context.newPage()
  await page.goto(`${shop.url}/shop.html#${new URLSearchParams({ edge: base, key, options })}`)
  return page
}

async function person() {
  const context = await browser.newContext()
  context.on('requestfinished', async (request) => {
    const response = await request.response()
    if (request.method() !== 'POST' || !response?.ok()) return
    const told = JSON.parse(request.postData())
    for (const message of told.batch ?? [told]) arrived.add(message.messageId)
  })
  return context
}

// Every call that it has, as a page makes them: who it is about, the client remembers.
async function tell(page, name, { some, batching = false } = {}) {
  for (const call of story(name, asked.length, seed, some)) {
    // What it sends again, it says of whoever is logged in by then, whoever that was before.
    if (call.type === 'identify' && !batching) await until(allArrived, 'what was tracked before the login arrives')
    asked.push(
      await page.evaluate(async (call) => {
        // A copy: it writes into what it is given.
        const { type, event, properties, traits, userId, anonymousId, previousId, groupId, category, name, context } =
          structuredClone(call)
        const options = { timestamp: new Date(call.timestamp), messageId: call.messageId, context }
        if (anonymousId) await analytics.setAnonymousId(anonymousId)
        const made = {
          page: () => analytics.page(category, name, properties, options),
          screen: () => analytics.screen(name, properties, options),
          track: () => analytics.track(event, properties, options),
          identify: () => analytics.identify(userId, traits, options),
          group: () => analytics.group(groupId, traits, options),
          alias: () => analytics.alias(userId, previousId, options),
        }
        const { event: sent } = await made[type]()
        const user = await analytics.user()
        return { ...call, messageId: sent.messageId, anonymousId: user.anonymousId(), userId: userId ?? user.id() }
      }, call),
    )
  }
}

async function until(done, what) {
  const deadline = Date.now() + PATIENCE
  while (!done()) {
    if (Date.now() > deadline) throw new Error(`not within ${PATIENCE} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

const allArrived = () => asked.every(({ messageId }) => arrived.has(messageId))

// One request a call.
const one = await person()
let page = await visit(one)
await tell(page, `${seed}-single`)
await until(allArrived, 'all of the single calls arrive')

// What is tracked while offline waits in the browser, also where the page is left meanwhile.
await one.setOffline(true)
await tell(page, `${seed}-offline`, { some: [1, 2] })
await page.goto('about:blank')
await one.setOffline(false)
await page.close()
page = await visit(one)
await until(allArrived, 'what was tracked offline arrives')
await one.close()

// Batches; the last is sent by the page that is left.
const many = await person()
page = await visit(many, { strategy: 'batching', config: { size: 4, timeout: 60_000 } })
await tell(page, `${seed}-batch`, { batching: true })
await until(() => asked.filter(({ messageId }) => !arrived.has(messageId)).length <= 1, 'full batches arrive')
await page.goto('about:blank')
await new Promise((resolve) => setTimeout(resolve, 1_000)) // a request that outlives its page isn't told of

await browser.close()
shop.stop()
console.log(JSON.stringify({ client: `@segment/analytics-next ${version}`, asked }))
