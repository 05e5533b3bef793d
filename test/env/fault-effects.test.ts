import { describe, expect, it } from 'vitest'
import { CRASH_RULES } from '../../src/env/crash-states.js'
import type { File } from '../../src/env/env.js'
import type { FaultEffect, FaultRule } from '../../src/env/faults.js'
import { MemoryFileSystem } from '../../src/env/memory-file-system.js'
import { faultEnv } from '../../src/testing.js'

const failing = (code: string) => expect.objectContaining({ code })
const fill = (length: number, value: number) => new Uint8Array(length).fill(value)

/** `/a` with ten durable bytes of 1. */
function durable(seed = 1): { fs: MemoryFileSystem; file: File } {
  const fs = new MemoryFileSystem(seed)
  const file = fs.open('/a', 'create')
  file.write(fill(10, 1), 0)
  file.sync()
  fs.syncDirectory('/')
  return { fs, file }
}

function read(file: File, length = 10): number[] {
  const into = fill(length, 9)
  return [...into.subarray(0, file.read(into, 0))]
}

describe('faults of the bytes', () => {
  it('misdirected reads and writes go beside their place', () => {
    const { fs, file } = durable()
    const counter = fs.inject({ op: 'write', effect: { misdirectBytes: 4 } })
    expect(file.write(fill(2, 7), 2)).toBe(2)
    expect([...fs.readFile('/a')]).toEqual([1, 1, 1, 1, 1, 1, 7, 7, 1, 1])
    fs.inject({ op: 'read', effect: { misdirectBytes: 6 } })
    expect(read(file, 2)).toEqual([7, 7])
    expect([read(file, 2), counter.fired]).toEqual([[1, 1], 1])
  })

  it('stale reads show what was last synced', () => {
    const { fs, file } = durable()
    file.write(fill(5, 2), 8)
    fs.inject({ op: 'read', effect: { isStale: true } })
    expect(read(file, 13)).toEqual([...fill(10, 1)])
    expect(read(file, 13)).toEqual([...fill(8, 1), ...fill(5, 2)])
  })

  it('with a probability hit some of the operations, the same for one seed', () => {
    const hits = (seed: number) => {
      const { fs, file } = durable(seed)
      const effect = { shortBytes: 1 }
      const counter = fs.inject({ op: 'read', repeat: 'forever', probability: 0.3, effect })
      const lengths = Array.from({ length: 200 }, () => read(file).length)
      expect(counter.fired).toBe(lengths.filter((length) => length === 1).length)
      return lengths.join('')
    }
    expect(hits(3)).toBe(hits(3))
    expect(hits(3)).not.toBe(hits(4))
    expect(hits(3).replaceAll('10', '').length).toBeGreaterThan(30)
    expect(hits(3).replaceAll('10', '').length).toBeLessThan(100)
  })
})

describe('faults of a sync', () => {
  it('a sync that lies promises nothing', async () => {
    const { fs, file } = durable()
    file.write(fill(5, 2), 10)
    fs.inject({ op: 'sync', repeat: 'forever', effect: { lies: true } })
    fs.inject({ op: 'syncDirectory', effect: { lies: true } })
    file.sync()
    await file.syncAsync()
    fs.open('/b', 'create').close()
    fs.syncDirectory('/')
    expect(fs.crash('strict').readFile('/a')).toHaveLength(10)
    expect(fs.crash('strict').list('/')).toEqual(['a'])
    fs.clearFaults()
    file.sync()
    expect(fs.crash('strict').readFile('/a')).toHaveLength(15)
  })

  it('one that fails may also take back what was written', () => {
    const { fs, file } = durable()
    fs.setCapacity(20)
    file.write(fill(10, 2), 10)
    file.write(fill(2, 3), 0)
    fs.inject({ op: 'sync', effect: { errno: 'EIO', reverts: true } })
    expect(() => file.sync()).toThrow(failing('EIO'))
    expect(read(file, 30)).toEqual([...fill(10, 1)])
    expect(file.write(fill(20, 4), 10)).toBe(10)
  })
})

describe('faults of time', () => {
  it('delay an asynchronous operation, or keep it for ever', async () => {
    const { fs, file } = durable()
    fs.writeFile('/b', fill(1, 1))
    fs.inject({ op: 'read', effect: { delayMs: 30 } })
    fs.inject({ op: 'sync', effect: { hangs: true } })
    fs.inject({ op: 'remove', effect: { hangs: true } })
    const startMs = performance.now()
    expect(await file.readAsync(fill(4, 0), 0)).toBe(4)
    expect(performance.now() - startMs).toBeGreaterThan(25)
    const late = new Promise((resolve) => setTimeout(resolve, 20, 'late'))
    expect(await Promise.race([file.syncAsync(), fs.removeAsync('/b'), late])).toBe('late')
    expect(fs.list('/')).toEqual(['a', 'b'])
  })
})

describe('a power cut', () => {
  it('stops everything at the operation it is set on', async () => {
    const { fs, file } = durable()
    fs.inject({ op: 'write', nth: 2, effect: { cutsPower: true } })
    file.write(fill(5, 2), 10)
    expect(() => file.write(fill(5, 3), 15)).toThrow(failing('EIO'))
    expect(() => fs.rename('/a', '/b')).toThrow(failing('EIO'))
    expect(() => file.read(fill(1, 0), 0)).toThrow(failing('EIO'))
    await expect(file.syncAsync()).rejects.toThrow(failing('EIO'))
    expect(fs.crash('data-kept-names-lost').readFile('/a')).toHaveLength(15)
    expect(fs.crash('strict').readFile('/a')).toHaveLength(10)
    file.close()
    expect(fs.openHandles()).toEqual([])
  })
})

it.each([
  ['stat', (fs: MemoryFileSystem) => fs.stat('/a')],
  ['list', (fs: MemoryFileSystem) => fs.list('/')],
] as const)('%s can fail', (op, act) => {
  const { fs, file } = durable()
  file.close()
  const counter = fs.inject({ op, effect: { errno: 'EIO' } })
  expect(() => act(fs)).toThrow(failing('EIO'))
  expect([counter.fired, fs.openFiles()]).toEqual([1, []])
  act(fs)
})

it.each<[FaultRule['op'], FaultEffect]>([
  ['create', { shortBytes: 1 }],
  ['write', { isStale: true }],
  ['read', { lies: true }],
  ['rename', { hangs: true }],
])('an effect that cannot happen to a %s does not', (op, effect) => {
  const { fs, file } = durable()
  const counter = fs.inject({ op, effect, repeat: 'forever' })
  file.write(fill(3, 1), 0)
  read(file)
  fs.rename('/a', '/b')
  fs.open('/c', 'create').close()
  expect(counter.fired).toBe(0)
})

describe('crash rules', () => {
  const lengthsOf = (rule: Parameters<MemoryFileSystem['crash']>[0], pieces: number) => {
    const { fs, file } = durable()
    for (let i = 0; i < pieces; i++) file.write(fill(4096, 2), 4096 * i)
    const contents = new Set<string>()
    for (let draw = 0; draw < 60; draw++)
      contents.add(Buffer.from(fs.crash(rule, draw).readFile('/a')).toString())
    return [...contents].map((content) => Buffer.from(content))
  }

  it('blocks4k leaves any set of blocks, each whole', () => {
    const left = lengthsOf({ data: 'blocks4k', names: 'all' }, 3)
    expect(left.length).toBe(8)
    for (const content of left) {
      for (let at = 4096; at < content.length; at += 4096) {
        expect(new Set(content.subarray(at, at + 4096)).size).toBe(1)
      }
    }
  })

  it('sectors512 tears what was overwritten only where that is allowed', () => {
    const states = (tornOverwrite: boolean) => {
      const fs = new MemoryFileSystem()
      fs.writeFile('/a', fill(2048, 1))
      // A second file handle does not exist: overwrite through a link of a fresh file.
      const file = fs.open('/b', 'create')
      file.write(fill(2048, 1), 0)
      file.sync()
      fs.syncDirectory('/')
      file.write(fill(2048, 2), 0)
      const rule = { data: 'sectors512', names: 'all', tornOverwrite } as const
      return Array.from({ length: 40 }, (_, draw) => new Set(fs.crash(rule, draw).readFile('/b')).size)
    }
    expect(new Set(states(false))).toEqual(new Set([1]))
    expect(new Set(states(true))).toEqual(new Set([1, 2]))
  })

  it('randomSubset may keep both names of a rename, and never neither', () => {
    const { fs } = durable()
    fs.rename('/a', '/b')
    fs.open('/c', 'create').close()
    const seen = new Set<string>()
    for (let draw = 0; draw < 80; draw++)
      seen.add(fs.crash(CRASH_RULES['names-subset'], draw).list('/').join(''))
    expect([...seen].sort()).toEqual(['a', 'ab', 'abc', 'ac', 'b', 'bc'])
  })

  it('fileSyncPersistsName keeps the names that a file had when it was synced', () => {
    const fs = new MemoryFileSystem()
    const rule = { data: 'strict', names: 'strict', fileSyncPersistsName: true } as const
    const file = fs.open('/a', 'create')
    fs.open('/other', 'create').close()
    file.sync()
    fs.rename('/a', '/b')
    expect(fs.crash(rule).list('/')).toEqual(['a'])
    file.sync()
    expect(fs.crash(rule).list('/')).toEqual(['b'])
    expect(fs.crash('strict').list('/')).toEqual([])
  })
})

describe('a fault environment', () => {
  it('lists what is held, and forgets it in a crash', () => {
    const env = faultEnv(3)
    const file = env.fs.open('/a', 'create')
    const lock = env.fs.lock('/LOCK')
    expect(env.openHandles()).toEqual(['/a', 'lock /LOCK'])
    expect([env.kill().openHandles(), env.crash('strict').fs.list('/')]).toEqual([[], []])
    file.close()
    lock.release()
    expect([env.openHandles(), env.seed]).toEqual([[], 3])
  })

  it('remembers the latest operations, with what became of them', () => {
    const env = faultEnv()
    const file = env.fs.open('/a', 'create')
    env.inject({ op: 'write', nth: 2, effect: { errno: 'EIO' } })
    file.write(fill(3, 1), 0)
    expect(() => file.write(fill(3, 1), 3)).toThrow()
    expect(env.ops().map(({ op, error, bytes }) => [op, error, bytes])).toEqual([
      ['create', undefined, undefined],
      ['write', undefined, undefined],
      ['write', 'EIO', undefined],
    ])
    for (let i = 0; i < 2000; i++) env.fs.stat('/a')
    expect(env.ops()).toHaveLength(256)
  })
})
