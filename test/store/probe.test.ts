import { it } from 'vitest'
import { open } from '../../src/database.js'
import { memoryEnv } from '../../src/env/memory-env.js'
import { contents, dump, openMemory, recovered, STORE, TINY, until, watched, pad, codeOf } from './helpers.js'
const show = (name: string, x: unknown) => console.log(`${name}:`, x)
const tryit = async (f: () => unknown) => { try { return ['ok', await f()] } catch (e) { return [(e as any).code, (e as Error).name, (e as Error).message.slice(0, 150)] } }
const within = (p: Promise<unknown>, ms = 500) => Promise.race([p.then((x) => x, (e) => e.code), new Promise((r) => setTimeout(() => r('HANGS'), ms))])

it('1 atLeast on closed', async () => {
  const { db } = await openMemory()
  await db.close()
  show('1 atLeast closed', await within(db.get('a', { atLeast: 5 })))
})
it('2 iterator close after db close w/ segments', async () => {
  const { db } = await openMemory(TINY)
  for (let i = 0; i < 50; i++) db.put(pad(i), 'x'.repeat(50))
  await db.flush()
  const it1 = db.entries(); await it1.next()
  const it2 = db.entriesSync(); it2.next()
  const it3 = db.entries()
  const s = db.snapshot()
  await db.close()
  show('2a', await tryit(() => it1.close()))
  show('2b', await tryit(() => it2.return!()))
  show('2b2', await tryit(() => it3.close()))
  show('2c', await tryit(() => s.close()))
})
it('2d sync next after close', async () => {
  const { db } = await openMemory(TINY)
  for (let i = 0; i < 50; i++) db.put(pad(i), 'x'.repeat(50))
  await db.flush()
  const it2 = db.entriesSync(); it2.next()
  const it4 = db.entriesSync()
  const it5 = db.entries(); await it5.next()
  await db.close()
  show('2d', await tryit(() => it2.next()))
  show('2e', await tryit(() => it4.next()))
  show('2f', await tryit(() => it5.next()))
  show('2g', await tryit(() => it5.all()))
})
it('3 sync iterator stable', async () => {
  const { db } = await openMemory(TINY)
  await db.put('a', '1'); await db.put('b', '1'); await db.flush()
  const i = db.entriesSync()
  await db.put('a', '2'); await db.del('b'); await db.compact()
  show('3', [...i])
})
it('4 per-write interval', async () => {
  const { db } = await openMemory({ durability: 'os' })
  await db.put('a', '1', { durability: { intervalMs: 5 } })
  await new Promise((r) => setTimeout(r, 100))
  show('4 durable', db.durablePosition)
  await db.close()
})
it('5 interval during sync', async () => {
  const w = watched(memoryEnv())
  const db = await open(STORE, { env: w.env, durability: { intervalMs: 30 } } as never)
  await db.put('a', '1')
  await new Promise((r) => setTimeout(r, 15))
  w.beforeSync = () => new Promise((r) => setTimeout(r, 60))
  const s = db.sync()
  await new Promise((r) => setTimeout(r, 2))
  await db.put('b', '1')
  await s
  w.beforeSync = async () => {}
  await new Promise((r) => setTimeout(r, 300))
  show('5 durable/position', [db.durablePosition, db.position])
  await db.close()
})
it('6 manifest sync fails in compaction', async () => {
  const { db, env } = await openMemory({ ...TINY, l0SegmentsMax: 1000 })
  for (let r = 0; r < 3; r++) { for (let i = 0; i < 30; i++) db.put(pad(i), `x${r}`.repeat(20)); await db.flush() }
  const c = env.fs.inject({ op: 'sync', path: /MANIFEST/, nth: 1, effect: { errno: 'EIO' } })
  show('6 compact', await tryit(() => db.compact()))
  show('6 fired', c.fired)
  show('6 close', await tryit(() => db.close()))
  env.fs.clearFaults()
  show('6 files', env.fs.list(STORE))
  show('6 reopen', await tryit(async () => Object.keys(await recovered(env.fs)).length))
})
it('7 checkpoint partial', async () => {
  const { db, env } = await openMemory()
  await db.put('a', '1')
  env.fs.makeDirectory('/b.partial'); env.fs.writeFile('/b.partial/precious', Buffer.from('x'))
  show('7', await tryit(() => db.checkpoint('/b')))
  show('7 list', env.fs.list('/'))
  show('7b', await tryit(() => db.checkpoint('/x/y/z')))
  show('7b strict', await tryit(() => env.fs.crash('strict').list('/x/y/z')))
  show('7c nul', await tryit(() => db.checkpoint('a\0b')))
  await db.close()
})
it('8 readonly compaction', async () => {
  const { db, env } = await openMemory({ ...TINY, l0SegmentsMax: 1000 })
  for (let r = 0; r < 5; r++) { for (let i = 0; i < 30; i++) db.put(pad(i), `x${r}`.repeat(20)); await db.flush() }
  await db.close()
  const before = contents(env.fs)
  const ro = await openMemory({ ...TINY, readOnly: true }, memoryEnv({ fs: env.fs }))
  ro.db.snapshot().close()
  await new Promise((r) => setTimeout(r, 50))
  show('8 before', Object.keys(before)); show('8 after', env.fs.list(STORE))
  show('8 health', ro.db.stats().health)
  show('8 close', await tryit(() => ro.db.close()))
})
it('9 stall ends', async () => {
  const { db } = await openMemory({ ...TINY, memtableBytes: 65536, memory: 2 ** 22, l0SegmentsMax: 1 })
  let b = 0, e = 0
  db.on('stall.began', () => b++); db.on('stall.ended', () => e++)
  for (let i = 0; i < 400; i++) { const p = db.put(pad(i), 'x'.repeat(8000)); if (i % 10 === 0) await p }
  await db.compact()
  for (let i = 0; i < 20; i++) { await db.put('z', String(i)); await new Promise((r) => setTimeout(r, 5)) }
  show('9', [b, e, db.stats().stall])
  await db.close()
})
it('10 encodings by prototype names and odd options', async () => {
  show('10a', await tryit(() => open('/q', { keyEncoding: 'constructor', env: memoryEnv() } as never)))
  show('10b', await tryit(() => open('/q', null as never)))
  show('10c', await tryit(() => open('/q', { log: 5, env: memoryEnv() } as never)))
  show('10d', await tryit(() => open('/q', { log: { maxByte: 5 }, env: memoryEnv() } as never)))
  const { db } = await openMemory()
  show('10e', await tryit(() => db.put('a', 'b', null as never)))
  show('10f', await tryit(() => db.put('a', 'b', 5 as never)))
  show('10g', await tryit(() => db.batch([], { check: 5 } as never)))
  show('10h', await tryit(() => db.batch([], { check: [null] } as never)))
  show('10i', await tryit(() => db.entries({ reverse: 'yes' } as never)))
  show('10j', await tryit(() => db.entries({ gtt: 'yes' } as never)))
  show('10k', await tryit(() => (db.on as any)('nonsense', 5)))
  show('10l', await tryit(() => db.put('a', 'b', { durabilty: 'disk' } as never)))
  show('10m', await tryit(() => db.get('a', 5 as never)))
  show('10n', await tryit(() => db.compact(null as never)))
  show('10o', await tryit(() => db.get('a', { snapshot: null } as never)))
  await db.close()
  const j = await open('/j', { keyEncoding: 'json', env: memoryEnv() } as never) as any
  show('10p', await tryit(() => j.put('\ud800', 'b')))
  show('10q', await tryit(() => j.put({ toJSON() { return undefined } }, 'b')))
  await j.close()
  const c = await open('/j', { keyEncoding: { encode() { throw new Error('user') }, decode: (x: any) => x }, env: memoryEnv() } as never) as any
  show('10r', await tryit(() => c.put('\ud800', 'b')))
  await c.close()
})
it('11 resume after close', async () => {
  const { db, env } = await openMemory()
  await db.put('a', '1')
  env.fs.inject({ op: 'write', path: /log$/, effect: { errno: 'EIO' } })
  show('11 put', await tryit(() => db.put('b', '1')))
  show('11 close', await tryit(() => db.close()))
  env.fs.clearFaults()
  show('11 resume', await tryit(() => db.resume()))
  show('11 get', await tryit(() => db.get('a')))
  show('11 locks', [env.fs.hasLocks(), env.fs.openFiles()])
  await db.close()
})
it('12 failed open leaks', async () => {
  const leaks: Record<string, string[]> = {}
  for (let n = 1; n < 40; n++) for (const when of ['before', 'after'] as const) {
    const { db, env } = await openMemory()
    await db.put('a', '1'); 
    const fs = env.fs.clone()
    await db.close()
    const c = fs.inject({ op: 'any', nth: n, when, effect: { errno: 'EIO' } })
    try { const o = await openMemory({}, memoryEnv({ fs })); await o.db.close().catch(() => {}) } catch (e) { 
      if (!(e as any).code?.startsWith('VARVE')) leaks[`untyped ${n} ${when}`] = [(e as Error).message]
      const open = fs.openFiles(); if (open.length || fs.hasLocks()) leaks[`${n} ${when} ${(e as Error).message}`] = open }
    if (c.fired === 0) break
  }
  show('12 leaks', leaks)
})
it('13 close with remove fault in a merge', async () => {
  const { db, env } = await openMemory({ ...TINY, memory: 2 ** 24, memtableBytes: 2 ** 20, segmentBytes: 2 ** 16, blockBytes: 2000, l0SegmentsMax: 1000 })
  for (let r = 0; r < 3; r++) { for (let i = 0; i < 3000; i++) db.put(pad(i), `x${r}${Math.random()}`.repeat(20)); await db.flush() }
  const began = new Promise<void>((r) => db.on('compaction.began', () => r()))
  const c = db.compact().catch((e) => e.code)
  await began
  await new Promise((r) => setTimeout(r, 10))
  env.fs.inject({ op: 'remove', repeat: 'forever', effect: { errno: 'EIO' } })
  show('13 close', await tryit(() => db.close()))
  show('13 c', await within(c))
  show('13', [env.fs.hasLocks(), env.fs.openFiles()])
})
