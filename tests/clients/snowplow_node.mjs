// @snowplow/node-tracker through its whole repertoire: every builder, POST and GET, base64 and plain, batches, flush.
//
//     node tests/clients/snowplow_node.mjs BASE KEY SEED    # prints what it was asked to send
//
// It has no key: Snowplow's protocol knows none. The application's id is KEY.
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'

const snowplow = createRequire(import.meta.url)('@snowplow/node-tracker')
const { version } = JSON.parse(readFileSync(new URL('node_modules/@snowplow/node-tracker/package.json', import.meta.url)))
const [base, key, seed] = process.argv.slice(2)
const { hostname: endpoint, port } = new URL(base)
const asked = []
const sent = new Set()

// What a visitor does, in Snowplow's words.
async function tell(person, encodeBase64, options) {
  const [device, user] = [`device-${person}`, `user-${person}`]
  const told = (events) => events.forEach((event) => sent.add(event.eid))
  const tracker = snowplow.newTracker(
    { namespace: 'shop', appId: key, encodeBase64 },
    { endpoint, port: Number(port), protocol: 'http', onRequestSuccess: told, ...options },
  )
  tracker.setPlatform('web')
  tracker.setDomainUserId(device)
  tracker.setLang('de-DE')
  tracker.setTimezone('Europe/Berlin')
  const start = Date.now() - 60_000
  const more = [{ schema: 'iglu:com.shop/campaign/jsonschema/1-0-0', data: { name: 'spring' } }]
  let known = null
  const ask = (call, builder, context = null) => {
    const at = start + 1000 * (asked.length % 60)
    const { eid } = tracker.track(builder, context, { type: 'ttm', value: at })
    asked.push({ call, eid, timestamp: at, device, user: known })
  }
  const page = { pageUrl: 'https://shop.example/tents?colour=grün', pageTitle: 'Tents', referrer: 'https://search.example/' }
  const name = 'Zelt „Größe 2“ 🏕'
  const line = { sku: 'tent', name, category: 'shelter', unitPrice: 249.5, currency: 'EUR' }
  const odd = { text: 'a "quoted" \\ line\n', yes: true, number: 1234567890123, none: null, list: [1, 'b', null] }
  const own = (name, data) => ({ event: { schema: `iglu:com.shop/${name}/jsonschema/1-0-0`, data } })

  ask('page_view', snowplow.buildPageView(page), more)
  ask('page_ping', snowplow.buildPagePing({ ...page, minXOffset: 0, maxXOffset: 10, minYOffset: 0, maxYOffset: 200 }))
  ask('self_describing', snowplow.buildSelfDescribingEvent(own('product_viewed', { product_id: 'tent', name, price: 249.5 })), more)
  ask('add_to_cart', snowplow.buildAddToCart({ ...line, quantity: 2 }))
  ask('remove_from_cart', snowplow.buildRemoveFromCart({ ...line, quantity: 1 }))
  tracker.setUserId((known = user))
  ask(
    'struct',
    snowplow.buildStructEvent({ category: 'shop', action: 'Feature Tried', label: 'tent', property: 'size', value: 2.5 }),
  )
  ask('odd', snowplow.buildSelfDescribingEvent(own('feature_tried', { ...odd, part: { depth: 2 } })))
  ask('screen_view', snowplow.buildScreenView({ id: 'screen-1', name: 'Basket' }))
  ask('link_click', snowplow.buildLinkClick({ targetUrl: page.pageUrl, elementId: 'buy', elementClasses: ['big'] }))
  ask('site_search', snowplow.buildSiteSearch({ terms: ['zelt', 'grün'], totalResults: 3, pageResults: 1 }))
  ask(
    'form_change',
    snowplow.buildFormFocusOrChange({ schema: 'change_form', formId: 'f1', elementId: 'name', nodeName: 'INPUT', value: 'x' }),
  )
  ask('form_submit', snowplow.buildFormSubmission({ formId: 'f1', formClasses: ['big'] }))
  ask(
    'ecommerce_transaction',
    snowplow.buildEcommerceTransaction({
      orderId: `order-${person}`,
      total: 499,
      affiliation: 'shop',
      tax: 79.67,
      shipping: 4.9,
      city: 'Berlin',
      state: 'BE',
      country: 'DE',
      currency: 'EUR',
    }),
  )
  ask(
    'ecommerce_transaction_item',
    snowplow.buildEcommerceTransactionItem({
      orderId: `order-${person}`,
      sku: 'tent',
      price: 249.5,
      quantity: 2,
      name,
      category: 'shelter',
      currency: 'EUR',
    }),
  )
  ask('social', snowplow.buildSocialInteraction({ action: 'like', network: 'mastodon', target: 'tent' }))
  ask('ad_impression', snowplow.buildAdImpression({ impressionId: 'i1', bannerId: 'b1', zoneId: 'z1' }))
  ask('ad_click', snowplow.buildAdClick({ targetUrl: page.pageUrl, clickId: 'c1', bannerId: 'b1' }))
  ask('ad_conversion', snowplow.buildAdConversion({ conversionId: 'v1', initialValue: 10, category: 'shelter' }))
  const consent = snowplow.buildConsentGranted({ id: 'doc1', version: '2', name: 'terms', expiry: '2030-01-01T00:00:00Z' })
  ask('consent_granted', consent.event, consent.context)
  const withdrawn = snowplow.buildConsentWithdrawn({ all: true, id: 'doc1', version: '2' })
  ask('consent_withdrawn', withdrawn.event, withdrawn.context)

  // What failed stays in its store until it is flushed again.
  const mine = () => asked.filter((event) => event.device === device && !sent.has(event.eid))
  for (let tries = 0; mine().length && tries < 20; tries++) {
    await tracker.flush()
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

await tell(`${seed}-post`, true, { bufferSize: 5 })
await tell(`${seed}-get`, false, { eventMethod: 'get', bufferSize: 1 })
const failed = asked.filter((event) => !sent.has(event.eid)).map((event) => event.eid)
console.log(JSON.stringify({ client: `@snowplow/node-tracker ${version}`, asked, failed }))
