import { describe, expect, it } from 'vitest'
import { open } from '../../src/database.js'
import type { Env, File } from '../../src/env/env.js'
import { memoryEnv } from '../../src/env/memory-env.js'
import type { OpenOptions } from '../../src/index.js'
import { FRAME_HEADER_BYTES, LOG_HEADER_BYTES } from '../../src/log/log-format.js'
import { dump, openMemory, pad, STORE, TINY } from './helpers.js'

/** What comes after it in the file was made ready for more. */
function endOfFrames(bytes: Buffer): number {
  let at = LOG_HEADER_BYTES
  while (at + FRAME_HEADER_BYTES <= bytes.length && bytes.readUInt32LE(at + 4) > 0)
    at += FRAME_HEADER_BYTES + bytes.readUInt32LE(at + 4)
  return at
}

describe('the end of the log', () => {
  it('D6: cut, zeroed or garbled at any byte of the last record opens, with all that was synced and no part of it', async () => {
    const { db, env } = await openMemory({ ...TINY, durability: 'disk' })
    for (let i = 0; i < 10; i++) await db.put(pad(i), `value ${i}`)
    const synced = await dump(db)
    const name = env.fs.list(STORE).find((file) => file.endsWith('.log'))!
    const path = `${STORE}/${name}`
    const from = endOfFrames(Buffer.from(env.fs.readFile(path)))
    await db.put('last', 'record', { durability: 'os' })
    const whole = Buffer.from(env.fs.readFile(path))
    const end = endOfFrames(whole)
    expect(end).toBeGreaterThan(from + FRAME_HEADER_BYTES)
    let count = 0
    for (let at = from; at < end; at++) {
      const cut = whole.subarray(0, at)
      const zeroed = Buffer.concat([cut, Buffer.alloc(whole.length - at)])
      const garbled = Buffer.from(whole)
      garbled[at]! ^= 0x55
      for (const bytes of [cut, zeroed, garbled]) {
        if (bytes.equals(whole)) continue
        const fs = env.fs.clone()
        fs.writeFile(path, bytes)
        const { db: again } = await openMemory(TINY, memoryEnv({ fs }))
        expect(await dump(again)).toEqual(synced)
        expect(again.position).toBe(10)
        await again.close()
        count++
      }
    }
    expect(count).toBeGreaterThan(100)
    await db.close()
  })
})

describe('segments', () => {
  it('D9: are sorted, written once from their first byte to their last, and never changed until they go', async () => {
    const inner = memoryEnv()
    const ends = new Map<string, number>()
    const closed = new Map<string, Buffer>()
    const wrap = (file: File): File => ({
      path: file.path,
      write: (bytes, offset) => {
        expect([file.path, offset]).toEqual([file.path, ends.get(file.path) ?? 0])
        expect(closed.has(file.path)).toBe(false)
        const taken = file.write(bytes, offset)
        ends.set(file.path, offset + taken)
        return taken
      },
      read: (into, offset) => file.read(into, offset),
      readAsync: (into, offset) => file.readAsync(into, offset),
      sync: () => file.sync(),
      syncAsync: () => file.syncAsync(),
      sizeBytes: () => file.sizeBytes(),
      close: () => {
        file.close()
        closed.set(file.path, Buffer.from(inner.fs.readFile(file.path)))
      },
    })
    const check = (path: string) => {
      const bytes = closed.get(path)
      if (bytes) expect(bytes.equals(inner.fs.readFile(path))).toBe(true)
    }
    let removed = 0
    const fs = new Proxy(inner.fs, {
      get(target, name) {
        if (name === 'open') {
          return (path: string, mode: 'read' | 'create') => {
            const file = target.open(path, mode)
            return mode === 'create' && path.endsWith('.seg') ? wrap(file) : file
          }
        }
        if (name === 'remove' || name === 'removeAsync') {
          return (path: string) => {
            if (path.endsWith('.seg')) removed++
            check(path)
            return target[name](path)
          }
        }
        const value = Reflect.get(target, name, target) as unknown
        return typeof value === 'function' ? value.bind(target) : value
      },
    })
    const env: Env = { ...inner, fs }
    const db = await open(STORE, { ...TINY, env } as OpenOptions)
    for (let i = 0; i < 600; i++) {
      if (i % 9 === 0) await db.del(pad((i * 7) % 80))
      else await db.put(pad((i * 7) % 80), `value ${i}`.repeat(3))
      if (i % 200 === 150) await db.compact()
    }
    await db.flush()
    // Reads every segment and checks that its keys ascend.
    expect((await db.verify()).segments).toBeGreaterThan(0)
    for (const path of closed.keys()) if (inner.fs.stat(path)) check(path)
    expect(ends.size).toBeGreaterThan(20)
    await db.close()
    expect(removed).toBeGreaterThan(10)
  })
})
