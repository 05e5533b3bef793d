// Checks what earlier lives of this directory left of its views, then writes until it is killed.
//
// node child.js <directory> <write | check>
// Lines on stdout: `C position` (checked), `W position` (written).
import { aggregate, open, secondaryIndex } from '../../dist/index.js'
import { limitLife, say } from '../kill/child-io.js'

const [directory, mode] = process.argv.slice(2)
limitLife()

const db = await open(directory, {
  ...{
    memory: 2 ** 21,
    memtableBytes: 16 * 1024,
    segmentBytes: 16 * 1024,
    blockBytes: 1024,
    l0SegmentsMax: 2,
  },
  log: { maxBytes: 2 ** 30 },
})
const counts = await db.view('counts', {
  ...aggregate({
    version: 1,
    group: (_, value) => value[0],
    kinds: ['count', 'max'],
    value: (key) => Number(key),
  }),
  memory: 2 ** 20,
})
const index = await db.view('index', {
  ...secondaryIndex({ version: 1, key: (_, value) => [value[0], value.slice(0, 3)] }),
  memory: 2 ** 20,
})

async function check() {
  await counts.reach()
  await index.reach()
  const groups = new Map()
  for await (const [key, value] of db.entries()) groups.set(value[0], [...(groups.get(value[0]) ?? []), key])
  const found = []
  for await (const [group, totals] of counts.groups()) found.push([group, totals.count, totals.max])
  const expected = [...groups]
    .sort()
    .map(([group, keys]) => [group, keys.length, Math.max(...keys.map(Number))])
  const same = JSON.stringify(found) === JSON.stringify(expected)
  if (!same) throw new Error(`counts are ${JSON.stringify(found)}, not ${JSON.stringify(expected)}`)
  for (const [group, keys] of groups) {
    const hits = await index.find(group)
    if (hits.join() !== keys.join())
      throw new Error(`the index has ${hits.length} of ${keys.length} for ${group}`)
  }
  say(`C ${db.position}`)
}

await check()
if (mode === 'check') {
  await counts.drop()
  await index.drop()
  await db.close()
} else {
  for (let i = db.position; ; i++) {
    const key = String((i * 7919) % 500).padStart(3, '0')
    if (i % 50 === 49)
      await db.clear({ gte: key, lt: String(Math.min(999, Number(key) + 20)).padStart(3, '0') })
    else if (i % 9 === 8) await db.del(key)
    else await db.put(key, `${'abcdef'[(i * 31) % 6]}${i}`.padEnd(80, '.'))
    if (i % 8 !== 0) continue
    say(`W ${db.position}`)
    await new Promise((resolve) => setImmediate(resolve))
  }
}
