import { cloneBytes } from '../util/bytes.js'
import type { File } from './env.js'
import { damage, type FaultPlan, limitedBy, type MemoryOperation, throwFault } from './faults.js'
import type { FileNode } from './memory-nodes.js'
import { systemError } from './system-error.js'
import { sleepFor } from './timers.js'

/** What the open files of one memory file system share with it. */
export interface MemoryDisk {
  readonly faults: FaultPlan
  /** Called before each change. */
  step(op: MemoryOperation, path: string): void
  nextOrder(): number
  freeBytes(): number
  /** Called after an open or a name of the file went. */
  released(node: FileNode): void
  readonly openFiles: Set<MemoryFile>
  usedBytes: number
}

/** An open file of a `MemoryFileSystem`. */
export class MemoryFile implements File {
  readonly path: string
  readonly #node: FileNode
  readonly #disk: MemoryDisk
  readonly #isWritable: boolean
  #isClosed = false

  constructor(path: string, node: FileNode, disk: MemoryDisk, isWritable: boolean) {
    this.path = path
    this.#node = node
    this.#disk = disk
    this.#isWritable = isWritable
    node.openCount++
    disk.openFiles.add(this)
  }

  write(bytes: Uint8Array, offset: number): number {
    this.#mustBeOpen('write')
    if (!this.#isWritable) throw systemError('EBADF', 'write', this.path)
    this.#disk.step('write', this.path)
    const fault = this.#disk.faults.take('write', this.path)
    throwFault(fault, 'before', 'write', this.path)
    const count = this.#fitting(limitedBy(fault, bytes.length), offset)
    if (count > 0) {
      const copy = cloneBytes(bytes, 0, count)
      damage(fault, copy)
      this.#store(copy, offset)
    }
    throwFault(fault, 'after', 'write', this.path)
    return count
  }

  read(into: Uint8Array, offset: number): number {
    this.#mustBeOpen('read')
    return this.#read(into, offset)
  }

  async readAsync(into: Uint8Array, offset: number): Promise<number> {
    this.#mustBeOpen('read')
    await sleepFor(0)
    return this.#read(into, offset)
  }

  sync(): void {
    this.#mustBeOpen('fdatasync')
    this.#sync(this.#node.writes.at(-1)?.order ?? 0)
  }

  async syncAsync(): Promise<void> {
    this.#mustBeOpen('fdatasync')
    // A write that comes while the sync runs may miss it.
    const last = this.#node.writes.at(-1)?.order ?? 0
    await sleepFor(0)
    this.#sync(last)
  }

  sizeBytes(): number {
    this.#mustBeOpen('fstat')
    return this.#node.live.length
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#disk.openFiles.delete(this)
    this.#node.openCount--
    this.#disk.released(this.#node)
  }

  #store(bytes: Uint8Array, offset: number): void {
    const before = this.#node.live.length
    this.#node.live.write(bytes, offset)
    this.#node.writes.push({ order: this.#disk.nextOrder(), offset, bytes, isLost: false })
    this.#node.modifiedMs = Date.now()
    this.#disk.usedBytes += this.#node.live.length - before
  }

  /** As the system does: what fits is taken, and only a write of which nothing fits fails. */
  #fitting(count: number, offset: number): number {
    const growth = Math.max(0, offset + count - this.#node.live.length)
    const missing = Math.max(0, growth - this.#disk.freeBytes())
    if (count > 0 && missing >= count) throw systemError('ENOSPC', 'write', this.path)
    return count - missing
  }

  #read(into: Uint8Array, offset: number): number {
    const fault = this.#disk.faults.take('read', this.path)
    throwFault(fault, 'before', 'read', this.path)
    const count = limitedBy(fault, Math.max(0, Math.min(into.length, this.#node.live.length - offset)))
    into.set(this.#node.live.view().subarray(offset, offset + count))
    damage(fault, into.subarray(0, count))
    throwFault(fault, 'after', 'read', this.path)
    return count
  }

  #sync(lastOrder: number): void {
    this.#disk.step('sync', this.path)
    const fault = this.#disk.faults.take('sync', this.path)
    const later = this.#node.writes.findIndex((write) => write.order > lastOrder)
    const count = later < 0 ? this.#node.writes.length : later
    if (fault?.when === 'before') this.#node.lose(count)
    throwFault(fault, 'before', 'fdatasync', this.path)
    this.#node.settle(count)
    throwFault(fault, 'after', 'fdatasync', this.path)
  }

  #mustBeOpen(syscall: string): void {
    if (this.#isClosed) throw systemError('EBADF', syscall, this.path)
  }
}
