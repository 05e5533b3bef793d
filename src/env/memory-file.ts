import { cloneBytes } from '../util/bytes.js'
import type { File } from './env.js'
import {
  damage,
  type Fault,
  limitedBy,
  lingers,
  type MemoryOperation,
  misdirectedBy,
  throwFault,
} from './faults.js'
import type { FileNode } from './memory-nodes.js'
import { type OperationRecord, type OperationTrace, traced } from './operation-trace.js'
import { systemError } from './system-error.js'

/** What the open files of one memory file system share with it. */
export interface MemoryDisk {
  readonly trace: OperationTrace
  /** Called as an operation begins: counts a change, and tells what goes wrong with it. */
  begin(op: MemoryOperation, syscall: string, path: string): Fault | undefined
  /** A turn of the event loop: how an asynchronous operation takes its time. */
  turn(op: MemoryOperation, path: string): Promise<void> | undefined
  /** How long a fault keeps an asynchronous operation. */
  linger(fault: Fault): Promise<void>
  nowMs(): number
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

  /** The same for all names of one file. */
  get number(): number {
    return this.#node.id
  }

  write(bytes: Uint8Array, offset: number): number {
    this.#mustBeOpen('write')
    if (!this.#isWritable) throw systemError('EBADF', 'write', this.path)
    const record = this.#record('write', 'write', offset, bytes.length)
    return this.#traced(record, () => {
      const fault = this.#disk.begin('write', 'write', this.path)
      throwFault(fault, 'before', 'write', this.path)
      const at = misdirectedBy(fault, offset)
      const count = this.#fitting(limitedBy(fault, bytes.length), at)
      if (count > 0) {
        const copy = cloneBytes(bytes, 0, count)
        damage(fault, copy)
        this.#store(copy, at)
        if (this.#disk.trace.keepsAll) Object.assign(record, { offset: at, bytes: copy })
      }
      throwFault(fault, 'after', 'write', this.path)
      return count
    })
  }

  read(into: Uint8Array, offset: number): number {
    this.#mustBeOpen('read')
    return this.#traced(this.#record('read', 'read', offset, into.length), () =>
      this.#read(into, offset, this.#disk.begin('read', 'read', this.path)),
    )
  }

  async readAsync(into: Uint8Array, offset: number): Promise<number> {
    this.#mustBeOpen('read')
    await this.#disk.turn('read', this.path)
    const fault = this.#disk.begin('read', 'read', this.path)
    if (lingers(fault)) await this.#disk.linger(fault)
    return this.#traced(this.#record('read', 'read', offset, into.length), () =>
      this.#read(into, offset, fault),
    )
  }

  sync(): void {
    this.#mustBeOpen('fdatasync')
    const last = this.#node.writes.at(-1)?.order ?? 0
    this.#traced(this.#record('sync', 'fdatasync'), () =>
      this.#sync(last, this.#disk.begin('sync', 'fdatasync', this.path)),
    )
  }

  async syncAsync(): Promise<void> {
    this.#mustBeOpen('fdatasync')
    // A write that comes while the sync runs may miss it.
    const last = this.#node.writes.at(-1)?.order ?? 0
    await this.#disk.turn('sync', this.path)
    const fault = this.#disk.begin('sync', 'fdatasync', this.path)
    if (lingers(fault)) await this.#disk.linger(fault)
    this.#traced(this.#record('sync', 'fdatasync'), () => this.#sync(last, fault))
  }

  sizeBytes(): number {
    this.#mustBeOpen('fstat')
    return this.#node.live.length
  }

  close(): void {
    if (this.#isClosed) return
    this.release()
    this.#disk.trace.note(this.#record('close', 'close'))
  }

  /** Closes in the way the system does for a process that dies. */
  release(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#disk.openFiles.delete(this)
    this.#node.openCount--
    this.#disk.released(this.#node)
  }

  #record(op: MemoryOperation, syscall: string, offset?: number, lengthBytes?: number): OperationRecord {
    const range = offset === undefined || lengthBytes === undefined ? {} : { offset, lengthBytes }
    return { op, syscall, path: this.path, file: this.#node.id, ...range }
  }

  #traced<T>(record: OperationRecord, action: () => T): T {
    return traced(this.#disk.trace, record, action)
  }

  #store(bytes: Uint8Array, offset: number): void {
    const before = this.#node.live.length
    this.#node.live.write(bytes, offset)
    this.#node.writes.push({ order: this.#disk.nextOrder(), offset, bytes, isLost: false })
    this.#node.modifiedMs = this.#disk.nowMs()
    this.#disk.usedBytes += this.#node.live.length - before
  }

  /** As the system does: what fits is taken, and only a write of which nothing fits fails. */
  #fitting(count: number, offset: number): number {
    const growth = Math.max(0, offset + count - this.#node.live.length)
    const missing = Math.max(0, growth - this.#disk.freeBytes())
    if (count > 0 && missing >= count) throw systemError('ENOSPC', 'write', this.path)
    return count - missing
  }

  #read(into: Uint8Array, offset: number, fault: Fault | undefined): number {
    throwFault(fault, 'before', 'read', this.path)
    const isStale = fault !== undefined && 'isStale' in fault.effect
    const source = isStale ? this.#node.durable : this.#node.live
    const at = misdirectedBy(fault, offset)
    const count = limitedBy(fault, Math.max(0, Math.min(into.length, source.length - at)))
    into.set(source.view().subarray(at, at + count))
    damage(fault, into.subarray(0, count))
    throwFault(fault, 'after', 'read', this.path)
    return count
  }

  #sync(lastOrder: number, fault: Fault | undefined): void {
    if (fault !== undefined && 'lies' in fault.effect) return
    const later = this.#node.writes.findIndex((write) => write.order > lastOrder)
    const count = later < 0 ? this.#node.writes.length : later
    if (fault?.when === 'before' && 'errno' in fault.effect) {
      if (fault.effect.reverts) this.#disk.usedBytes -= this.#node.revert(count)
      else this.#node.lose(count)
    }
    throwFault(fault, 'before', 'fdatasync', this.path)
    this.#node.settle(count)
    this.#node.syncedOrder = this.#disk.nextOrder()
    throwFault(fault, 'after', 'fdatasync', this.path)
  }

  #mustBeOpen(syscall: string): void {
    if (this.#isClosed) throw systemError('EBADF', syscall, this.path)
  }
}
