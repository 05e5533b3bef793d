import { afterEach, describe, expect, it } from 'vitest'
import type { Database } from '../../src/database.js'
import { Database as DatabaseClass, open } from '../../src/database.js'
import { memoryEnv } from '../../src/env/memory-env.js'
import { SeededRandom } from '../../src/env/seeded-random.js'
import type { OpenOptions } from '../../src/index.js'
import { FollowerLoop } from '../../src/replication/follower-loop.js'
import { FrameBuilder } from '../../src/replication/frame-builder.js'
import { FrameParser } from '../../src/replication/frame-parser.js'
import { Leader } from '../../src/replication/leader.js'
import type { LeaderConnection, LeaderStatus } from '../../src/replication/messages.js'
import {
  encodeHead,
  STREAM_HEADER_BYTES,
  streamSeed,
  writeStreamHeader,
} from '../../src/replication/stream-format.js'
import type { Store } from '../../src/store/store.js'
import { codeOf, dump, TINY, until } from '../store/helpers.js'
import { Closers, FOLLOWER, openLeader } from './helpers.js'

const LINEAGE = Buffer.alloc(16, 7)
const SEED = streamSeed(LINEAGE)
const closers = new Closers()
afterEach(() => closers.close())

/** One put as the log holds it. */
function batch(key: string, value: string): Buffer {
  const bytes = Buffer.alloc(15 + key.length + value.length)
  bytes.writeUInt32LE(1, 0)
  bytes.writeUInt32LE(7 + key.length + value.length, 4)
  bytes[8] = 1
  bytes.writeUInt16LE(key.length, 9)
  bytes.writeUInt32LE(value.length, 11)
  bytes.write(key + value, 15)
  return bytes
}

function frame(
  position: number,
  bytes: Buffer,
  options: { epoch?: number; count?: number; seed?: number } = {},
): Buffer {
  const { epoch = 1, count = 1, seed = SEED } = options
  const whole = Buffer.concat([Buffer.alloc(STREAM_HEADER_BYTES), bytes])
  const header = {
    bodyBytes: bytes.length,
    kind: 1,
    batchCount: count,
    firstPosition: position,
    timestampMs: 1,
    epoch,
  }
  writeStreamHeader(whole, 0, header, seed)
  return whole
}

/** A follower of a leader that sends just these pieces, then falls silent. */
async function follow(pieces: readonly Buffer[], status: Partial<LeaderStatus> = {}) {
  const db: Database = await open(FOLLOWER, { ...TINY, env: memoryEnv() } as OpenOptions)
  closers.add(db)
  const store = () => DatabaseClass.typedStoreOf(db).store
  const errors: (string | undefined)[] = []
  db.on('follower.disconnected', ({ error }) => errors.push((error as { code?: string }).code))
  let isFirst = true
  const connection: LeaderConnection = {
    url: 'test:',
    status: async () => ({
      lineage: LINEAGE.toString('hex'),
      epochs: [{ epoch: 1, firstPosition: 1 }],
      position: 9,
      oldestPosition: 1,
      wallMs: 0,
      ...status,
    }),
    log: async (_request, signal) => send(isFirst ? pieces : [], signal, () => (isFirst = false)),
    checksums: async () => [],
    digest: async () => Promise.reject(new Error('none')),
    copy: async () => Promise.reject(new Error('none')),
    file: async () => Promise.reject(new Error('none')),
    ack: async () => {},
    fetched: async () => {},
    close: () => {},
  }
  const hooks = {
    store,
    install: async () => {},
    setAside: async () => '',
    emit: (event: Parameters<Store['events']['emit']>[0]) => store().events.emit(event),
  }
  const loop = new FollowerLoop(connection, hooks, 'fail')
  closers.add({ close: () => loop.stop() })
  await loop.start()
  return { db, errors, loop }
}

async function* send(
  pieces: readonly Buffer[],
  signal: AbortSignal,
  onSent: () => void,
): AsyncGenerator<Buffer> {
  for (const piece of pieces) yield piece
  onSent()
  await new Promise((resolve) => signal.addEventListener('abort', resolve))
}

describe('a stream that a leader should not send', () => {
  const good = [frame(1, batch('a', '1')), frame(2, batch('b', '2'))]
  it.each([
    ['skips a position', [frame(4, batch('x', '1'))], 'VARVE_CORRUPTION'],
    ['repeats a position', [frame(2, batch('x', '1'))], 'VARVE_CORRUPTION'],
    ['goes back', [frame(1, batch('x', '1'))], 'VARVE_CORRUPTION'],
    [
      'has a gap behind a sound frame',
      [Buffer.concat([frame(3, batch('x', '1')), frame(5, batch('y', '1'))])],
      'VARVE_CORRUPTION',
    ],
    ['is of another store', [frame(3, batch('x', '1'), { seed: 1 })], 'VARVE_CORRUPTION'],
    ['claims more batches than it has', [frame(3, batch('x', '1'), { count: 2 })], 'VARVE_CORRUPTION'],
    [
      'has bytes left over',
      [frame(3, Buffer.concat([batch('x', '1'), Buffer.alloc(3)]))],
      'VARVE_CORRUPTION',
    ],
    ['holds no batch', [frame(3, Buffer.alloc(0), { count: 0 })], 'VARVE_CORRUPTION'],
    ['is of an older epoch', [frame(3, batch('x', '1'), { epoch: 0 })], 'VARVE_FENCED'],
    ['is of an epoch that did not begin', [frame(3, batch('x', '1'), { epoch: 2 })], 'VARVE_CORRUPTION'],
    ['comes to its end', [], undefined],
  ] as const)('%s: none of it is applied', async (_what, bad, code) => {
    const { db, errors } = await follow([...good, ...bad])
    if (code) {
      await until(() => errors.length > 0)
      expect(errors[0]).toBe(code)
    } else {
      await until(() => db.position === 2)
    }
    expect(db.position).toBe(2)
    expect(await dump(db)).toEqual({ a: '1', b: '2' })
  })

  it('has a status that is refused: an older epoch, a log that parts or ends before', async () => {
    const leader = closers.add(await openLeader())
    await leader.put('a', '1')
    const store = DatabaseClass.typedStoreOf(leader).store
    const asking = new Leader(() => store, {
      heartbeatMs: 1000,
      stallMs: 1000,
      retainMs: 0,
      followersMax: 1,
      copiesMax: 1,
    })
    const { lineage } = await asking.status()
    const log = (after: number, epochs: LeaderStatus['epochs']) =>
      codeOf(async () => {
        const request = { followerId: undefined, after, checksum: undefined, epochs, lineage }
        await (await asking.openLog(request, () => {}, new AbortController().signal)).return(undefined)
      })
    const first = { epoch: 1, firstPosition: 1 }
    expect(await log(1, [first])).toBeUndefined()
    expect(await log(2, [first])).toBe('VARVE_DIVERGED')
    // A peer of another history fences nobody.
    await asking.status({ epoch: 9, lineage: '0'.repeat(32) })
    expect(await leader.put('b', '1')).toBe(2)
    expect(await log(1, [first, { epoch: 3, firstPosition: 2 }])).toBe('VARVE_FENCED')
    expect(await codeOf(() => leader.put('c', '1'))).toBe('VARVE_FENCED')
    asking.close()
  })
})

describe('the parser of a stream', () => {
  it('gives the same frames wherever the bytes are cut (200 seeds)', () => {
    const builder = new FrameBuilder(SEED)
    for (let i = 1; i <= 60; i++) {
      const bytes = batch(`key${i}`, 'v'.repeat((i * 37) % 300))
      builder.add(i, Math.floor(i / 3), i < 40 ? 1 : 2, bytes, 0)
    }
    const head = encodeHead({ position: 60, oldestPosition: 1, wallMs: 5 }, 2, SEED)
    const stream = Buffer.concat([builder.take()!, head])
    const whole = new FrameParser(SEED).push(stream)
    expect(whole.head).toEqual({ position: 60, oldestPosition: 1, wallMs: 5 })
    const described = describeFrames(whole.frames)
    expect(described.reduce((sum, { batchCount }) => sum + batchCount, 0)).toBe(60)
    for (let seed = 0; seed < 200; seed++) {
      const random = new SeededRandom(seed)
      const parser = new FrameParser(SEED)
      const found: ReturnType<typeof describeFrames> = []
      for (let at = 0; at < stream.length; ) {
        const end = Math.min(stream.length, at + 1 + random.below(seed % 2 ? 20 : 2000))
        found.push(...describeFrames(parser.push(stream.subarray(at, end)).frames))
        at = end
      }
      expect(found).toEqual(described)
    }
  })

  it('finds every single damaged byte, and never more than whole frames before it', async () => {
    const stream = Buffer.concat([1, 2, 3].map((i) => frame(i, batch(`k${i}`, 'value'))))
    for (let at = 0; at < stream.length; at++) {
      const damaged = Buffer.from(stream)
      damaged[at]! ^= 1 + (at % 255)
      expect(await codeOf(() => new FrameParser(SEED).push(damaged))).toBe('VARVE_CORRUPTION')
    }
  })
})

function describeFrames(frames: ReturnType<FrameParser['push']>['frames']) {
  return frames.map(({ firstPosition, batchCount, timestampMs, epoch, bytes, start, end }) => ({
    firstPosition,
    batchCount,
    timestampMs,
    epoch,
    body: Buffer.from(bytes.subarray(start, end)).toString('hex'),
  }))
}
