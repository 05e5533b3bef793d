/** How the cost of an operation grows with the store: a table, and `bench/growth.svg`. */
import { writeFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { open } from '../dist/index.js'
import { keyOf, numbers, valuePool } from './data.js'
import { makeDirectory, removeDirectory } from './directory.js'
import { MIB } from './watch.js'

const { values } = parseArgs({
  options: {
    sizes: { type: 'string', default: '10000,100000,1000000,10000000' },
    svg: { type: 'string', default: fileURLToPath(new URL('growth.svg', import.meta.url)) },
  },
})
const sizes = values.sizes.split(',').map(Number)
const valueAt = valuePool(100)
const READS = 100_000
const COLORS = { put: '#1f77b4', get: '#d62728', scan: '#2ca02c' }

/** Microseconds of one operation at each size. */
async function measure(entries) {
  const path = makeDirectory('growth')
  const db = await open(path, { keyEncoding: 'buffer', valueEncoding: 'buffer', memory: 256 * MIB })
  try {
    const put = await timed(entries, async () => {
      for (let from = 0; from < entries; from += 1000) {
        const ops = []
        for (let i = from; i < from + 1000; i++) ops.push({ type: 'put', key: keyOf(i), value: valueAt(i) })
        await db.batch(ops)
      }
    })
    await db.flush()
    await db.compact()
    const next = numbers(entries)
    const keys = Array.from({ length: READS }, () => keyOf(next(entries)))
    const get = await timed(READS, async () => {
      for (const key of keys) await db.get(key)
    })
    const scanned = Math.min(entries, 1_000_000)
    const scan = await timed(scanned, async () => {
      const iterator = db.entries({ limit: scanned })
      while ((await iterator.nextv(1000)).length > 0);
      await iterator.close()
    })
    return { entries, put, get, scan }
  } finally {
    await db.close()
    removeDirectory(path)
  }
}

async function timed(count, run) {
  const start = performance.now()
  await run()
  return ((performance.now() - start) * 1000) / count
}

const WIDTH = 640
const HEIGHT = 360
const EDGE = 60

/** Both axes are logarithmic. */
function plot(rows) {
  const xs = rows.map(({ entries }) => Math.log10(entries))
  const ys = rows.flatMap(({ put, get, scan }) => [put, get, scan]).map(Math.log10)
  const [left, right] = [Math.min(...xs), Math.max(...xs)]
  const [low, high] = [Math.floor(Math.min(...ys)), Math.ceil(Math.max(...ys))]
  const x = (entries) => EDGE + ((Math.log10(entries) - left) / (right - left || 1)) * (WIDTH - 2 * EDGE)
  const y = (us) => HEIGHT - EDGE - ((Math.log10(us) - low) / (high - low || 1)) * (HEIGHT - 2 * EDGE)
  const parts = [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12">`,
    `<rect width="${WIDTH}" height="${HEIGHT}" fill="white"/>`,
    `<text x="${EDGE}" y="24">Microseconds of one operation against entries in the store</text>`,
  ]
  for (const { entries } of rows)
    parts.push(
      `<text x="${x(entries)}" y="${HEIGHT - EDGE + 20}" text-anchor="middle">${entries.toLocaleString('en-US')}</text>`,
    )
  for (let power = low; power <= high; power++) {
    const at = y(10 ** power)
    parts.push(`<line x1="${EDGE}" x2="${WIDTH - EDGE}" y1="${at}" y2="${at}" stroke="#ddd"/>`)
    parts.push(`<text x="${EDGE - 8}" y="${at + 4}" text-anchor="end">${10 ** power} µs</text>`)
  }
  for (const [name, color] of Object.entries(COLORS)) {
    const points = rows.map((row) => `${x(row.entries).toFixed(1)},${y(row[name]).toFixed(1)}`).join(' ')
    parts.push(`<polyline points="${points}" fill="none" stroke="${color}" stroke-width="2"/>`)
    const last = rows.at(-1)
    parts.push(`<text x="${x(last.entries) + 6}" y="${y(last[name]) + 4}" fill="${color}">${name}</text>`)
  }
  return `${parts.join('\n')}\n</svg>\n`
}

const rows = []
console.log('| entries | put, batches of 1,000 | get, settled | scan |\n| ---: | ---: | ---: | ---: |')
for (const entries of sizes) {
  const row = await measure(entries)
  rows.push(row)
  console.log(
    `| ${entries.toLocaleString('en-US')} | ${row.put.toFixed(2)} µs | ${row.get.toFixed(2)} µs | ${row.scan.toFixed(2)} µs |`,
  )
}
if (values.svg !== 'none') writeFileSync(values.svg, plot(rows))
