import { describe, expect, it } from 'vitest'
import type { File } from '../../src/env/env.js'
import { memoryEnv } from '../../src/env/memory-env.js'
import { MemoryFileSystem, type MemoryStep } from '../../src/env/memory-file-system.js'

const fill = (length: number, value: number) => new Uint8Array(length).fill(value)

/** `/db/a` with 1000 durable bytes of 1 and its name durable, open for writing. */
function durableFile(seed = 1): { fs: MemoryFileSystem; file: File } {
  const fs = new MemoryFileSystem(seed)
  fs.makeDirectory('/db')
  fs.syncDirectory('/')
  const file = fs.open('/db/a', 'create')
  file.write(fill(1000, 1), 0)
  file.sync()
  fs.syncDirectory('/db')
  return { fs, file }
}

const concat = (...parts: Uint8Array[]) => Uint8Array.from(parts.flatMap((part) => [...part]))

describe('crash states of data', () => {
  it('lose, keep, zero or garble what was not synced', () => {
    const { fs, file } = durableFile()
    file.write(fill(1000, 2), 1000)
    file.write(fill(1000, 3), 2000)
    const old = fill(1000, 1)
    const all = concat(old, fill(1000, 2), fill(1000, 3))
    expect(fs.crash('strict').readFile('/db/a')).toEqual(old)
    expect(fs.crash('names-kept-data-lost').readFile('/db/a')).toEqual(old)
    expect(fs.crash('zeros-keep-size').readFile('/db/a')).toEqual(concat(old, fill(2000, 0)))
    expect(fs.crash('data-kept-names-lost').readFile('/db/a')).toEqual(all)
    expect(fs.clone().readFile('/db/a')).toEqual(all)
    const garbage = fs.crash('garbage-tail').readFile('/db/a')
    expect(garbage.subarray(0, 2500)).toEqual(all.subarray(0, 2500))
    expect(garbage).toHaveLength(3000)
    expect(garbage.subarray(2500)).not.toEqual(all.subarray(2500))
  })

  it('keep in order a part of the writes, the last torn at a sector', () => {
    const lengths = new Set<number>()
    for (let seed = 0; seed < 40; seed++) {
      const { fs, file } = durableFile(seed)
      file.write(fill(1100, 2), 1000)
      file.write(fill(1100, 3), 2100)
      const left = fs.crash('prefix').readFile('/db/a')
      expect(left).toEqual(fs.readFile('/db/a').subarray(0, left.length))
      expect(left.length % 512).toBe(0)
      lengths.add(left.length)
      expect(fs.crash('prefix').readFile('/db/a')).toEqual(left)
    }
    expect([...lengths].sort((a, b) => a - b)).toEqual([1024, 1536, 2048, 2560, 3072])
  })

  it('do not miss what was synced, whichever they are', () => {
    const { fs, file } = durableFile()
    file.write(fill(10, 2), 1000)
    file.sync()
    for (const state of fs.crashStates()) expect(state.fs.readFile('/db/a')).toEqual(fs.readFile('/db/a'))
  })

  it('lack a write that came while an asynchronous sync ran', async () => {
    const { fs, file } = durableFile()
    file.write(fill(10, 2), 1000)
    const syncing = file.syncAsync()
    file.write(fill(10, 3), 1010)
    expect(fs.crash('strict').readFile('/db/a')).toHaveLength(1000)
    await syncing
    expect(fs.crash('strict').readFile('/db/a')).toEqual(concat(fill(1000, 1), fill(10, 2)))
  })
})

describe('crash states of names', () => {
  it('lose a name whose directory was not synced, though the file was', () => {
    const { fs } = durableFile()
    const file = fs.open('/db/b', 'create')
    file.write(fill(5, 7), 0)
    file.sync()
    expect(fs.crash('strict').list('/db')).toEqual(['a'])
    expect(fs.crash('data-kept-names-lost').list('/db')).toEqual(['a'])
    expect(fs.crash('names-kept-data-lost').readFile('/db/b')).toEqual(fill(5, 7))
    fs.syncDirectory('/db')
    expect(fs.crash('strict').readFile('/db/b')).toEqual(fill(5, 7))
  })

  it('may keep a rename and lose the data under the new name', () => {
    const { fs } = durableFile()
    fs.open('/db/b', 'create').write(fill(5, 7), 0)
    fs.rename('/db/b', '/db/a')
    expect(fs.crash('strict').readFile('/db/a')).toEqual(fill(1000, 1))
    expect(fs.crash('names-kept-data-lost').readFile('/db/a')).toEqual(fill(0, 0))
    expect(fs.crash('zeros-keep-size').readFile('/db/a')).toEqual(fill(5, 0))
    expect(fs.crash('data-kept-names-lost').list('/db')).toEqual(['a'])
  })

  it('bring back a removed file until its directory is synced', () => {
    const { fs, file } = durableFile()
    file.close()
    fs.remove('/db/a')
    expect(fs.crash('strict').readFile('/db/a')).toEqual(fill(1000, 1))
    expect(fs.crash('names-kept-data-lost').list('/db')).toEqual([])
    fs.syncDirectory('/db')
    expect(fs.crash('strict').list('/db')).toEqual([])
  })

  it('rename within a directory wholly or not at all', () => {
    const lists = new Set<string>()
    for (let seed = 0; seed < 20; seed++) {
      const { fs } = durableFile(seed)
      fs.rename('/db/a', '/db/b')
      fs.rename('/db/b', '/db/c')
      lists.add(fs.crash('prefix').list('/db').join())
    }
    expect([...lists].sort()).toEqual(['a', 'b'])
  })

  it('lose a whole directory whose own name was not synced', () => {
    const fs = new MemoryFileSystem()
    fs.makeDirectory('/x')
    fs.open('/x/a', 'create').sync()
    fs.syncDirectory('/x')
    expect(fs.crash('strict').list('/')).toEqual([])
    fs.syncDirectory('/')
    expect(fs.crash('strict').list('/x')).toEqual(['a'])
  })

  it('keep two names of one file one file', () => {
    const { fs } = durableFile()
    fs.link('/db/a', '/db/b')
    fs.syncDirectory('/db')
    const after = fs.crash('strict')
    expect(after.stat('/db/a')?.identity).toBe(after.stat('/db/b')?.identity)
    expect(after.stat('/db/a')?.identity).not.toBe(fs.stat('/db/a')?.identity)
  })
})

describe('crash states', () => {
  it('are independent of the file system they come from and of one another', () => {
    const { fs, file } = durableFile()
    file.write(fill(10, 2), 1000)
    const states = [...fs.crashStates()]
    file.write(fill(10, 9), 0)
    for (const state of states) expect(state.fs.readFile('/db/a')[0]).toBe(1)
    states[0]!.fs.remove('/db/a')
    expect(fs.list('/db')).toEqual(['a'])
    expect(states[1]!.fs.list('/db')).toEqual(['a'])
  })

  it('share nothing that a sync in one of them changes in another', () => {
    const { fs, file } = durableFile()
    file.write(fill(10, 2), 0)
    const killed = fs.clone()
    killed.open('/db/a', 'read').sync()
    expect(killed.crash('strict').readFile('/db/a')[0]).toBe(2)
    expect(fs.crash('strict').readFile('/db/a')[0]).toBe(1)
  })

  it('hold no locks and no open files', () => {
    const { fs } = durableFile()
    fs.lock('/db/LOCK')
    expect(fs.hasLocks()).toBe(true)
    for (const state of fs.crashStates()) {
      expect(state.fs.openFiles()).toEqual([])
      state.fs.lock('/db/LOCK').release()
    }
    expect(() => fs.lock('/db/LOCK')).toThrow(expect.objectContaining({ code: 'VARVE_LOCKED' }))
  })

  it('are named once each, without those that equal another', () => {
    const { fs, file } = durableFile()
    const names = () => [...fs.crashStates()].map((state) => state.name)
    expect(names()).toEqual(['all', 'strict'])
    file.write(fill(3000, 2), 1000)
    expect(names()).toEqual([
      'all',
      'strict',
      'zeros-keep-size',
      'data-kept-names-lost',
      'prefix',
      'garbage-tail',
    ])
    fs.open('/db/b', 'create')
    expect(names()).toContain('names-kept-data-lost')
  })

  it('keep, after a mere kill, what is pending pending', () => {
    const { fs, file } = durableFile()
    file.write(fill(10, 2), 1000)
    fs.open('/db/b', 'create')
    const killed = [...fs.crashStates()].find((state) => state.name === 'all')!.fs
    expect(killed.list('/db')).toEqual(['a', 'b'])
    expect(killed.crash('strict').list('/db')).toEqual(['a'])
    expect(killed.crash('strict').readFile('/db/a')).toHaveLength(1000)
  })

  it('can be taken before each step', () => {
    const { fs } = memoryEnv()
    const steps: MemoryStep[] = []
    const sizes: (number | undefined)[] = []
    fs.onStep = (step) => {
      steps.push(step)
      sizes.push(fs.crash('strict').stat('/a')?.sizeBytes)
    }
    const file = fs.open('/a', 'create')
    file.write(fill(4, 1), 0)
    file.sync()
    fs.syncDirectory('/')
    fs.link('/a', '/b')
    fs.rename('/b', '/c')
    fs.remove('/c')
    expect(steps.map((step) => `${step.index} ${step.op} ${step.path}`)).toEqual([
      '0 create /a',
      '1 write /a',
      '2 sync /a',
      '3 syncDirectory /',
      '4 link /a',
      '5 rename /b',
      '6 remove /c',
    ])
    expect(sizes).toEqual([undefined, undefined, undefined, undefined, 4, 4, 4])
    expect(fs.stepCount).toBe(7)
  })

  it('cost little: a thousand of a 16 MiB file', () => {
    const fs = new MemoryFileSystem()
    const file = fs.open('/a', 'create')
    const block = fill(4096, 5)
    for (let offset = 0; offset < 2 ** 24; offset += block.length) file.write(block, offset)
    file.sync()
    fs.syncDirectory('/')
    const start = performance.now()
    for (let count = 0; count < 1000; count++) fs.crash('strict')
    expect(performance.now() - start).toBeLessThan(1000)
  })
})
