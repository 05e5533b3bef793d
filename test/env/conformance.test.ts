import { describe, expect, it } from 'vitest'
import type { FileSystem } from '../../src/env/env.js'
import { memoryEnv } from '../../src/env/memory-env.js'
import { nodeEnv } from '../../src/env/node-env.js'
import { temporaryDirectory } from './temporary-directory.js'

interface Place {
  readonly fs: FileSystem
  readonly root: string
}

const PLACES: Record<string, () => Place> = {
  node: () => ({ fs: nodeEnv.fs, root: temporaryDirectory() }),
  memory: () => {
    const { fs } = memoryEnv()
    fs.makeDirectory('/root')
    return { fs, root: '/root' }
  },
}

const text = (value: string) => new TextEncoder().encode(value)
const failing = (code: string) => expect.objectContaining({ code })

function put({ fs, root }: Place, name: string, content: string): string {
  const path = `${root}/${name}`
  const file = fs.open(path, 'create')
  file.write(text(content), 0)
  file.close()
  return path
}

function contentOf(fs: FileSystem, path: string): string {
  const file = fs.open(path, 'read')
  const bytes = new Uint8Array(file.sizeBytes())
  file.read(bytes, 0)
  file.close()
  return new TextDecoder().decode(bytes)
}

describe.each(Object.keys(PLACES))('files: %s', (kind) => {
  const place = PLACES[kind]!

  it('writes and reads at offsets, with zeros in the gaps', () => {
    const { fs, root } = place()
    const file = fs.open(`${root}/a`, 'create')
    expect(file.write(text('world'), 6)).toBe(5)
    expect(file.write(text('hello'), 0)).toBe(5)
    expect(file.sizeBytes()).toBe(11)
    const into = new Uint8Array(20).fill(255)
    expect(file.read(into, 0)).toBe(11)
    expect(new TextDecoder().decode(into.subarray(0, 11))).toBe('hello\0world')
    expect(into[11]).toBe(255)
    expect(file.read(into, 8)).toBe(3)
    expect(file.read(into, 500)).toBe(0)
    file.close()
  })

  it('reads and syncs asynchronously, also when closed meanwhile', async () => {
    const at = place()
    const path = put(at, 'a', 'content')
    const file = at.fs.open(path, 'read')
    const into = new Uint8Array(7)
    const reading = file.readAsync(into, 0)
    const syncing = file.syncAsync()
    file.close()
    await syncing
    expect(await reading).toBe(7)
    expect(new TextDecoder().decode(into)).toBe('content')
  })

  it('creates only what is not there and opens only what is', () => {
    const at = place()
    const path = put(at, 'a', 'x')
    expect(() => at.fs.open(path, 'create')).toThrow(failing('EEXIST'))
    expect(() => at.fs.open(`${at.root}/b`, 'read')).toThrow(failing('ENOENT'))
    expect(() => at.fs.open(`${at.root}/no/b`, 'create')).toThrow(failing('ENOENT'))
    expect(() => at.fs.open(at.root, 'read')).toThrow(failing('EISDIR'))
    expect(contentOf(at.fs, path)).toBe('x')
  })

  it('does not write to a file opened for reading', () => {
    const at = place()
    const file = at.fs.open(put(at, 'a', 'x'), 'read')
    expect(() => file.write(text('y'), 0)).toThrow(failing('EBADF'))
    file.close()
  })

  it('refuses a closed file, and closes twice', async () => {
    const { fs, root } = place()
    const file = fs.open(`${root}/a`, 'create')
    file.close()
    file.close()
    expect(() => file.write(text('y'), 0)).toThrow(failing('EBADF'))
    expect(() => file.read(new Uint8Array(1), 0)).toThrow(failing('EBADF'))
    expect(() => file.sync()).toThrow(failing('EBADF'))
    expect(() => file.sizeBytes()).toThrow(failing('EBADF'))
    await expect(file.readAsync(new Uint8Array(1), 0)).rejects.toThrow(failing('EBADF'))
    await expect(file.syncAsync()).rejects.toThrow(failing('EBADF'))
  })

  it('keeps a removed or replaced file readable while it is open', () => {
    const at = place()
    const path = put(at, 'a', 'old')
    const other = put(at, 'b', 'new')
    const replaced = at.fs.open(path, 'read')
    const removed = at.fs.open(other, 'read')
    at.fs.rename(other, path)
    at.fs.remove(path)
    const into = new Uint8Array(3)
    expect([replaced.read(into, 0), new TextDecoder().decode(into)]).toEqual([3, 'old'])
    expect([removed.read(into, 0), new TextDecoder().decode(into)]).toEqual([3, 'new'])
    expect(at.fs.list(at.root)).toEqual([])
    replaced.close()
    removed.close()
  })

  it('renames over a file, and only what is there', () => {
    const at = place()
    const from = put(at, 'a', 'from')
    const to = put(at, 'b', 'to')
    at.fs.rename(from, to)
    expect(at.fs.list(at.root)).toEqual(['b'])
    expect(contentOf(at.fs, to)).toBe('from')
    expect(() => at.fs.rename(from, to)).toThrow(failing('ENOENT'))
    at.fs.makeDirectory(`${at.root}/d`)
    expect(() => at.fs.rename(to, `${at.root}/d`)).toThrow(failing('EISDIR'))
    at.fs.rename(to, `${at.root}/d/c`)
    expect(contentOf(at.fs, `${at.root}/d/c`)).toBe('from')
  })

  it('links: two names of one file', () => {
    const at = place()
    const from = put(at, 'a', 'same')
    const to = `${at.root}/b`
    expect(at.fs.link(from, to)).toBe(true)
    expect(at.fs.stat(from)?.identity).toBe(at.fs.stat(to)?.identity)
    expect(() => at.fs.link(from, to)).toThrow(failing('EEXIST'))
    at.fs.rename(from, to)
    expect(at.fs.list(at.root)).toEqual(['a', 'b'])
    at.fs.remove(from)
    expect(contentOf(at.fs, to)).toBe('same')
    expect(() => at.fs.link(from, `${at.root}/c`)).toThrow(failing('ENOENT'))
  })

  it('tells about files and directories', () => {
    const at = place()
    const path = put(at, 'a', 'four')
    const stat = at.fs.stat(path)!
    expect(stat).toMatchObject({ sizeBytes: 4, isDirectory: false })
    expect(Math.abs(stat.modifiedMs - Date.now())).toBeLessThan(60_000)
    expect(at.fs.stat(at.root)?.isDirectory).toBe(true)
    expect(at.fs.stat(at.root)?.identity).not.toBe(stat.identity)
    expect(at.fs.stat(`${at.root}/none`)).toBeUndefined()
    expect(at.fs.stat(`${path}/none`)).toBeUndefined()
    expect(at.fs.realPath(`${at.root}/./a`)).toBe(path)
    expect(() => at.fs.realPath(`${at.root}/none`)).toThrow(failing('ENOENT'))
  })

  it('makes directories with their parents and names the topmost new one', () => {
    const at = place()
    expect(at.fs.makeDirectory(`${at.root}/x/y/z`)).toBe(`${at.root}/x`)
    expect(at.fs.makeDirectory(`${at.root}/x/y/z`)).toBeUndefined()
    expect(at.fs.makeDirectory(`${at.root}/x/y/w`)).toBe(`${at.root}/x/y/w`)
    const path = put(at, 'file', '')
    expect(() => at.fs.makeDirectory(path)).toThrow(failing('EEXIST'))
    expect(() => at.fs.makeDirectory(`${path}/below`)).toThrow(failing('ENOTDIR'))
  })

  it('lists sorted names', () => {
    const at = place()
    for (const name of ['b', 'a', 'C', 'a.b']) put(at, name, '')
    expect(at.fs.list(at.root)).toEqual(['C', 'a', 'a.b', 'b'])
    expect(() => at.fs.list(`${at.root}/none`)).toThrow(failing('ENOENT'))
    expect(() => at.fs.list(`${at.root}/a`)).toThrow(failing('ENOTDIR'))
  })

  it('removes files and empty directories, and only what is there', () => {
    const at = place()
    at.fs.remove(put(at, 'a', 'x'))
    expect(() => at.fs.remove(`${at.root}/a`)).toThrow(failing('ENOENT'))
    at.fs.makeDirectory(`${at.root}/d/e`)
    expect(() => at.fs.remove(`${at.root}/d`)).toThrow(failing('ENOTEMPTY'))
    at.fs.remove(`${at.root}/d/e`)
    at.fs.remove(`${at.root}/d`)
    expect(at.fs.list(at.root)).toEqual([])
  })

  it('syncs files and directories that are there', () => {
    const { fs, root } = place()
    const file = fs.open(`${root}/a`, 'create')
    file.write(text('x'), 0)
    file.sync()
    file.close()
    fs.syncDirectory(root)
    expect(() => fs.syncDirectory(`${root}/none`)).toThrow(failing('ENOENT'))
    expect(() => fs.syncDirectory(`${root}/a`)).toThrow(failing('ENOTDIR'))
  })

  it('locks once, whatever the name, until released', () => {
    const { fs, root } = place()
    const path = `${root}/LOCK`
    const lock = fs.lock(path)
    const expected = expect.objectContaining({ code: 'VARVE_LOCKED', pid: process.pid, file: path })
    expect(() => fs.lock(path)).toThrow(expected)
    expect(() => fs.lock(path)).toThrow(`${path} is held by this process (pid ${process.pid})`)
    lock.release()
    const second = fs.lock(path)
    lock.release()
    expect(() => fs.lock(path)).toThrow(expected)
    second.release()
    expect(fs.list(root)).toEqual(['LOCK'])
  })
})

describe('node files', () => {
  it.skipIf(process.platform === 'win32')('are for their owner only, and follow no links', async () => {
    const { mkdirSync, statSync, symlinkSync } = await import('node:fs')
    const at = PLACES['node']!()
    const path = put(at, 'a', 'x')
    const directory = at.fs.makeDirectory(`${at.root}/d`)!
    expect([statSync(path).mode & 0o777, statSync(directory).mode & 0o777]).toEqual([0o600, 0o700])
    symlinkSync(path, `${at.root}/l`)
    expect(() => at.fs.open(`${at.root}/l`, 'read')).toThrow(failing('ELOOP'))
    expect(() => at.fs.lock(`${at.root}/l`)).toThrow(failing('ELOOP'))
    mkdirSync(`${at.root}/real`)
    symlinkSync(`${at.root}/real`, `${at.root}/alias`)
    expect(at.fs.realPath(`${at.root}/alias`)).toBe(`${at.root}/real`)
  })
})
