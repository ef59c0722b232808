// Debian's Chromium, headless, and a small server of the shop's own pages: another origin than where events are sent.
import { createReadStream, existsSync } from 'node:fs'
import { createServer } from 'node:http'
import { fileURLToPath } from 'node:url'
import { chromium } from 'playwright-core'

const HERE = new URL('.', import.meta.url)
const SCRIPTS = new URL('node_modules/@segment/analytics-next/dist/umd/', HERE)
const TYPES = { html: 'text/html; charset=utf-8', js: 'text/javascript; charset=utf-8' }
const QUIET = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
]

// Serves /shop.html and analytics-next under /analytics/. Returns its address and how to stop it.
export async function serve() {
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://shop')
    const [, script] = pathname.match(/^\/analytics\/([\w.-]+\.js)$/) ?? []
    const file = script ? new URL(script, SCRIPTS) : new URL('shop.html', HERE)
    if (!(script ? existsSync(file) : pathname === '/shop.html')) return response.writeHead(404).end()
    response.writeHead(200, { 'Content-Type': TYPES[pathname.split('.').pop()] })
    createReadStream(fileURLToPath(file)).pipe(response)
  })
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve))
  const stop = () => (server.closeAllConnections(), server.close())
  return { url: `http://127.0.0.1:${server.address().port}`, stop }
}

// A browser with an empty profile of its own.
export function launch() {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium', args: QUIET })
}
