// Somebody in the small shop, in Chromium: looks at a tent, puts it into the cart, and leaves.
//
//     node tests/clients/shop.mjs EDGE KEY CART [PICTURE.png]    # prints who it was: {"anonymousId": ...}
import { launch, serve } from './browser.mjs'

const [edge, key, cart, picture] = process.argv.slice(2)
const shop = await serve()
const browser = await launch()
const page = await browser.newPage({ viewport: { width: 800, height: 560 } })
const taken = (kind) => page.waitForResponse((answer) => answer.url().endsWith(`/v1/${kind}`) && answer.request().method() === 'POST')

const arrived = taken('p')
await page.goto(`${shop.url}/shop.html#${new URLSearchParams({ edge, key, cart, visit: '' })}`)
await arrived
for (const button of ['#view', '#add']) {
  const [answer] = await Promise.all([taken('t'), page.click(button)])
  if (!answer.ok()) throw new Error(`${button}: ${answer.status()} ${await answer.text()}`)
}
if (picture) await page.screenshot({ path: picture })
const anonymousId = await page.evaluate(async () => (await analytics.user()).anonymousId())
await page.goto('about:blank')
await browser.close()
shop.stop()
console.log(JSON.stringify({ anonymousId, shop: shop.url }))
