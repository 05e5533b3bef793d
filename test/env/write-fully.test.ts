import { describe, expect, it } from 'vitest'
import { memoryEnv } from '../../src/env/memory-env.js'
import type { MemoryFileSystem } from '../../src/env/memory-file-system.js'
import { readFully, readFullyAsync, writeFully } from '../../src/env/write-fully.js'

const PATH = '/000001.log'

function bytesOf(count: number): Uint8Array {
  return Uint8Array.from({ length: count }, (_, index) => index % 251)
}

function create(): { fs: MemoryFileSystem; file: ReturnType<MemoryFileSystem['open']> } {
  const { fs } = memoryEnv()
  return { fs, file: fs.open(PATH, 'create') }
}

describe('writeFully', () => {
  it('goes on after short writes', () => {
    const { fs, file } = create()
    const counter = fs.inject({ op: 'write', repeat: 'forever', effect: { shortBytes: 7 } })
    writeFully(file, bytesOf(100), 5)
    expect(counter.fired).toBe(15)
    expect(fs.readFile(PATH).subarray(5)).toEqual(bytesOf(100))
  })

  it('says VARVE_NO_SPACE when the disk is full, though the first write was only short', () => {
    const { fs, file } = create()
    fs.setCapacity(60)
    expect(() => writeFully(file, bytesOf(100), 0)).toThrow(
      expect.objectContaining({ code: 'VARVE_NO_SPACE', file: PATH }),
    )
    expect(file.sizeBytes()).toBe(60)
  })

  it('says VARVE_NO_SPACE when a write takes nothing', () => {
    const { fs, file } = create()
    fs.inject({ op: 'write', effect: { shortBytes: 0 } })
    expect(() => writeFully(file, bytesOf(10), 0)).toThrow(
      expect.objectContaining({ code: 'VARVE_NO_SPACE' }),
    )
  })

  it('says VARVE_IO with the cause for any other refusal', () => {
    const { fs, file } = create()
    fs.inject({ op: 'write', effect: { errno: 'EIO' } })
    const cause = expect.objectContaining({ code: 'EIO' })
    expect(() => writeFully(file, bytesOf(10), 0)).toThrow(
      expect.objectContaining({ code: 'VARVE_IO', cause }),
    )
  })

  it('writes nothing for no bytes', () => {
    const { fs, file } = create()
    const steps = fs.stepCount
    writeFully(file, new Uint8Array(0), 0)
    expect(fs.stepCount).toBe(steps)
  })
})

describe('readFully', () => {
  it('fills the buffer', async () => {
    const { file } = create()
    writeFully(file, bytesOf(50), 0)
    const into = new Uint8Array(20)
    readFully(file, into, 10)
    expect(into).toEqual(bytesOf(50).subarray(10, 30))
    await readFullyAsync(file, into, 30)
    expect(into).toEqual(bytesOf(50).subarray(30))
  })

  it('says VARVE_CORRUPTION, and where, when the file ends before', async () => {
    const { file } = create()
    writeFully(file, bytesOf(50), 0)
    const expected = expect.objectContaining({ code: 'VARVE_CORRUPTION', file: PATH, offset: 50 })
    expect(() => readFully(file, new Uint8Array(20), 31)).toThrow(expected)
    await expect(readFullyAsync(file, new Uint8Array(20), 31)).rejects.toThrow(expected)
  })

  it('says VARVE_IO when the system refuses', async () => {
    const { fs, file } = create()
    fs.inject({ op: 'read', repeat: 'forever', effect: { errno: 'EIO' } })
    const expected = expect.objectContaining({ code: 'VARVE_IO', file: PATH })
    expect(() => readFully(file, new Uint8Array(1), 0)).toThrow(expected)
    await expect(readFullyAsync(file, new Uint8Array(1), 0)).rejects.toThrow(expected)
  })
})
