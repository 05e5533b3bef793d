import { describe, expect, it } from 'vitest'
import { memoryEnv } from '../../src/env/memory-env.js'
import { MemoryFileSystem } from '../../src/env/memory-file-system.js'

const failing = (code: string) => expect.objectContaining({ code })
const fill = (length: number, value: number) => new Uint8Array(length).fill(value)

describe('faults', () => {
  it('fail the operation they name, in the way of Node, and only that', () => {
    const fs = new MemoryFileSystem()
    const counter = fs.inject({ op: 'rename', effect: { errno: 'EIO' } })
    fs.open('/a', 'create').close()
    expect(() => fs.rename('/a', '/b')).toThrow("EIO: i/o error, rename '/a'")
    expect(fs.list('/')).toEqual(['a'])
    fs.rename('/a', '/b')
    expect([fs.list('/'), counter.fired]).toEqual([['b'], 1])
  })

  it.each([
    ['open', (fs: MemoryFileSystem) => fs.open('/f', 'read')],
    ['create', (fs: MemoryFileSystem) => fs.open('/g', 'create')],
    ['create', (fs: MemoryFileSystem) => fs.makeDirectory('/d')],
    ['remove', (fs: MemoryFileSystem) => fs.remove('/f')],
    ['link', (fs: MemoryFileSystem) => fs.link('/f', '/g')],
    ['syncDirectory', (fs: MemoryFileSystem) => fs.syncDirectory('/')],
  ] as const)('can be on %s', (op, act) => {
    const fs = new MemoryFileSystem()
    fs.writeFile('/f', fill(3, 1))
    const counter = fs.inject({ op, effect: { errno: 'EACCES' } })
    expect(() => act(fs)).toThrow(failing('EACCES'))
    expect([fs.list('/'), counter.fired, fs.openFiles()]).toEqual([['f'], 1, []])
  })

  it('choose by path and by number, once or for ever', () => {
    const fs = new MemoryFileSystem()
    const log = fs.open('/a.log', 'create')
    const segment = fs.open('/a.seg', 'create')
    const once = fs.inject({ op: 'write', path: /\.log$/, nth: 2, effect: { errno: 'EIO' } })
    const forever = fs.inject({
      op: 'any',
      path: /\.seg$/,
      nth: 2,
      repeat: 'forever',
      effect: { errno: 'EROFS' },
    })
    segment.write(fill(1, 1), 0)
    log.write(fill(1, 1), 0)
    expect(() => log.write(fill(1, 1), 1)).toThrow(failing('EIO'))
    log.write(fill(1, 1), 1)
    expect(() => segment.write(fill(1, 1), 1)).toThrow(failing('EROFS'))
    expect(() => segment.sync()).toThrow(failing('EROFS'))
    expect([once.fired, forever.fired]).toEqual([1, 2])
    fs.clearFaults()
    segment.sync()
  })

  it('can come after the operation has happened', () => {
    const fs = new MemoryFileSystem()
    fs.inject({ op: 'create', when: 'after', effect: { errno: 'EIO' } })
    expect(() => fs.open('/a', 'create')).toThrow(failing('EIO'))
    expect([fs.list('/'), fs.openFiles()]).toEqual([['a'], []])
  })

  it('flip a bit of what is read or written', async () => {
    const fs = new MemoryFileSystem()
    const file = fs.open('/a', 'create')
    const bytes = fill(4, 0)
    const written = fs.inject({ op: 'write', effect: { flipBit: 9 } })
    file.write(bytes, 0)
    expect([...fs.readFile('/a'), ...bytes]).toEqual([0, 2, 0, 0, 0, 0, 0, 0])
    const read = fs.inject({ op: 'read', effect: { flipBit: 0 } })
    await file.readAsync(bytes, 0)
    expect([...bytes]).toEqual([1, 2, 0, 0])
    file.read(bytes, 0)
    expect([...bytes]).toEqual([0, 2, 0, 0])
    expect([written.fired, read.fired]).toEqual([1, 1])
  })

  it('make reads short', () => {
    const fs = new MemoryFileSystem()
    fs.writeFile('/a', fill(10, 1))
    fs.inject({ op: 'read', effect: { shortBytes: 3 } })
    const file = fs.open('/a', 'read')
    expect([file.read(fill(10, 0), 0), file.read(fill(10, 0), 0)]).toEqual([3, 10])
  })

  it.each([
    'sync',
    'syncAsync',
  ] as const)('a failed %s loses the data for ever, and later syncs say nothing', async (sync) => {
    const fs = new MemoryFileSystem()
    const file = fs.open('/a', 'create')
    fs.syncDirectory('/')
    file.write(fill(4, 1), 0)
    fs.inject({ op: 'sync', effect: { errno: 'EIO' } })
    await expect((async () => file[sync]())()).rejects.toThrow(failing('EIO'))
    file.write(fill(4, 2), 4)
    await file[sync]()
    const readable = [1, 1, 1, 1, 2, 2, 2, 2]
    expect([...fs.readFile('/a')]).toEqual(readable)
    expect([...fs.clone().readFile('/a')]).toEqual(readable)
    const onDisk = [0, 0, 0, 0, 2, 2, 2, 2]
    expect([...fs.crash('strict').readFile('/a')]).toEqual(onDisk)
    expect([...fs.crash('data-kept-names-lost').readFile('/a')]).toEqual(onDisk)
  })

  it('a failed syncDirectory can be repeated', () => {
    const fs = new MemoryFileSystem()
    fs.inject({ op: 'syncDirectory', effect: { errno: 'EIO' } })
    fs.open('/a', 'create')
    expect(() => fs.syncDirectory('/')).toThrow(failing('EIO'))
    expect(fs.crash('strict').list('/')).toEqual([])
    fs.syncDirectory('/')
    expect(fs.crash('strict').list('/')).toEqual(['a'])
  })
})

describe('a full disk', () => {
  it('takes what fits, then refuses, and goes on when there is room', () => {
    const fs = new MemoryFileSystem()
    fs.writeFile('/other', fill(60, 1))
    fs.setCapacity(100)
    const file = fs.open('/a', 'create')
    expect(file.write(fill(50, 1), 0)).toBe(40)
    expect(() => file.write(fill(10, 1), 40)).toThrow("ENOSPC: no space left on device, write '/a'")
    expect(file.write(fill(10, 2), 0)).toBe(10)
    const other = fs.open('/other', 'read')
    fs.remove('/other')
    expect(() => file.write(fill(10, 1), 40)).toThrow(failing('ENOSPC'))
    other.close()
    expect(file.write(fill(70, 1), 40)).toBe(60)
    fs.setCapacity(1000)
    expect(file.write(fill(70, 1), 100)).toBe(70)
  })

  it('stays as full in a copy', () => {
    const fs = new MemoryFileSystem()
    fs.writeFile('/a', fill(60, 1))
    fs.link('/a', '/b')
    const copy = fs.clone()
    copy.setCapacity(100)
    expect(copy.open('/c', 'create').write(fill(50, 1), 0)).toBe(40)
  })
})

describe('files put there by tests', () => {
  it('are durable at once, also over pending ones', () => {
    const fs = new MemoryFileSystem()
    fs.makeDirectory('/db')
    fs.open('/db/tmp', 'create')
    fs.rename('/db/tmp', '/db/a')
    fs.writeFile('/db/a', fill(3, 9))
    fs.writeFile('/db/b', fill(2, 8))
    const after = fs.crash('strict')
    expect([after.list('/db'), [...after.readFile('/db/a')]]).toEqual([
      ['a', 'b'],
      [9, 9, 9],
    ])
    fs.syncDirectory('/db')
    expect(fs.crash('strict').list('/db')).toEqual(['a', 'b'])
  })

  it('can be damaged in a clone alone', () => {
    const fs = new MemoryFileSystem()
    fs.writeFile('/a', fill(3, 9))
    const copy = fs.clone()
    copy.writeFile('/a', fill(1, 0))
    expect([fs.readFile('/a').length, copy.readFile('/a').length]).toEqual([3, 1])
    fs.readFile('/a')[0] = 0
    expect(fs.readFile('/a')[0]).toBe(9)
  })
})

describe('a memory environment', () => {
  it('knows which files are open', () => {
    const { fs } = memoryEnv()
    const file = fs.open('/b', 'create')
    fs.open('/a', 'create')
    expect(fs.openFiles()).toEqual(['/a', '/b'])
    file.close()
    expect(fs.openFiles()).toEqual(['/a'])
  })

  it('repeats its random numbers for one seed', () => {
    const draw = (seed: number) => {
      const bytes = new Uint8Array(16)
      memoryEnv({ seed }).random.fill(bytes)
      return [...bytes]
    }
    expect(draw(7)).toEqual(draw(7))
    expect(draw(7)).not.toEqual(draw(8))
    expect(new Set(draw(7)).size).toBeGreaterThan(8)
  })

  it('goes on with given files, without threads', () => {
    const first = memoryEnv()
    first.fs.writeFile('/a', fill(1, 1))
    const second = memoryEnv({ fs: first.fs.crash('strict') })
    expect(second.fs.list('/')).toEqual(['a'])
    expect(second.startWorker({ onResult() {}, onError() {}, onExit() {} })).toBeUndefined()
  })
})
