/** Bytes that grow; `fork` copies them lazily, so that taking a crash state costs nothing per byte. */
export class GrowingBytes {
  #buffer: Uint8Array
  #length: number
  #isShared = false

  constructor(buffer: Uint8Array = new Uint8Array(0)) {
    this.#buffer = buffer
    this.#length = buffer.length
  }

  get length(): number {
    return this.#length
  }

  /** A view, valid until the next write. */
  view(): Uint8Array {
    return this.#buffer.subarray(0, this.#length)
  }

  fork(): GrowingBytes {
    const copy = new GrowingBytes(this.#buffer)
    copy.#length = this.#length
    copy.#isShared = true
    this.#isShared = true
    return copy
  }

  write(bytes: Uint8Array, offset: number): void {
    this.#own(Math.max(this.#length, offset + bytes.length))
    this.#buffer.set(bytes, offset)
    this.#length = Math.max(this.#length, offset + bytes.length)
  }

  /** Extends with zeros. */
  extendTo(length: number): void {
    if (length <= this.#length) return
    this.#own(length)
    this.#length = length
  }

  #own(wanted: number): void {
    if (!this.#isShared && wanted <= this.#buffer.length) return
    const grown = wanted <= this.#buffer.length ? wanted : Math.max(wanted, this.#buffer.length * 2, 256)
    const buffer = new Uint8Array(grown)
    buffer.set(this.#buffer.subarray(0, this.#length))
    this.#buffer = buffer
    this.#isShared = false
  }
}

/** A write that no sync has made durable. Immutable, so that copies of the file system may share it. */
export interface PendingWrite {
  /** Place in the order of all writes and name operations. */
  readonly order: number
  readonly offset: number
  readonly bytes: Uint8Array
  /** A sync failed after it: readable, but no later sync ever makes it durable. */
  readonly isLost: boolean
}

/** A change of a directory that no syncDirectory has made durable. */
export interface PendingName {
  readonly order: number
  /** The name that goes, if one does. */
  readonly removed?: string
  /** The name that comes, if one does, and what it then stands for. */
  readonly added?: string
  readonly node?: MemoryNode
}

export type MemoryNode = FileNode | DirectoryNode

export class FileNode {
  readonly kind = 'file'
  readonly id: number
  /** What reads see. */
  live = new GrowingBytes()
  /** What is left after a power loss at the least. */
  durable = new GrowingBytes()
  writes: PendingWrite[] = []
  nameCount = 0
  openCount = 0
  modifiedMs = Date.now()
  /** When its last sync was, in the order of all writes and name operations; 0: never. */
  syncedOrder = 0

  constructor(id: number) {
    this.id = id
  }

  /** Makes the first `count` pending writes durable. */
  settle(count: number): void {
    const kept: PendingWrite[] = []
    for (const write of this.writes.slice(0, count)) {
      if (write.isLost) kept.push(write)
      else this.durable.write(write.bytes, write.offset)
    }
    this.writes = kept.concat(this.writes.slice(count))
  }

  /** What a failed fsync does: the system forgets that these writes were dirty. */
  lose(count: number): void {
    this.writes = this.writes.map((write, index) => (index < count ? { ...write, isLost: true } : write))
  }

  /** As `lose`, on a file system that also forgets what was written. Returns by how much the file shrank. */
  revert(count: number): number {
    const before = this.live.length
    this.writes = this.writes.slice(count)
    this.live = this.durable.fork()
    for (const write of this.writes) this.live.write(write.bytes, write.offset)
    return before - this.live.length
  }
}

export class DirectoryNode {
  readonly kind = 'directory'
  readonly id: number
  names = new Map<string, MemoryNode>()
  durableNames = new Map<string, MemoryNode>()
  pending: PendingName[] = []
  modifiedMs = Date.now()

  constructor(id: number) {
    this.id = id
  }

  change(operation: PendingName): void {
    applyName(this.names, operation)
    this.pending.push(operation)
    this.modifiedMs = Date.now()
  }

  /** Makes changes up to `last` durable, in the order of all writes and name operations. */
  settle(last: number): void {
    for (const operation of this.pending) {
      if (operation.order <= last) applyName(this.durableNames, operation)
    }
    this.pending = this.pending.filter(({ order }) => order > last)
  }
}

export function applyName(names: Map<string, MemoryNode>, operation: PendingName): void {
  if (operation.removed !== undefined) names.delete(operation.removed)
  if (operation.added !== undefined) names.set(operation.added, operation.node!)
}

/** The operation without what it does to one name. */
export function withoutName(operation: PendingName, name: string): PendingName {
  const { order, removed, added, node } = operation
  return {
    order,
    ...(removed === undefined || removed === name ? {} : { removed }),
    ...(added === undefined || added === name || node === undefined ? {} : { added, node }),
  }
}

/** An independent copy, with everything that is pending still pending. */
export function copyTree(root: DirectoryNode): DirectoryNode {
  const copies = new Map<MemoryNode, MemoryNode>()
  const copy = (node: MemoryNode): MemoryNode => {
    const known = copies.get(node)
    if (known !== undefined) return known
    const fresh = node.kind === 'file' ? copyFile(node) : new DirectoryNode(node.id)
    copies.set(node, fresh)
    if (node.kind === 'directory' && fresh.kind === 'directory') {
      for (const [name, child] of node.names) fresh.names.set(name, copy(child))
      for (const [name, child] of node.durableNames) fresh.durableNames.set(name, copy(child))
      fresh.pending = node.pending.map((op) => (op.node === undefined ? op : { ...op, node: copy(op.node) }))
      fresh.modifiedMs = node.modifiedMs
    }
    return fresh
  }
  return copy(root) as DirectoryNode
}

function copyFile(node: FileNode): FileNode {
  const copy = new FileNode(node.id)
  copy.live = node.live.fork()
  copy.durable = node.durable.fork()
  copy.writes = [...node.writes]
  copy.nameCount = node.nameCount
  copy.syncedOrder = node.syncedOrder
  copy.modifiedMs = node.modifiedMs
  return copy
}

/** Every node that a live, durable or pending name leads to. */
export function allNodes(root: DirectoryNode): Set<MemoryNode> {
  const found = new Set<MemoryNode>([root])
  // A set visits what is added while it is being walked.
  for (const node of found) {
    if (node.kind === 'file') continue
    for (const child of node.names.values()) found.add(child)
    for (const child of node.durableNames.values()) found.add(child)
    for (const operation of node.pending) if (operation.node !== undefined) found.add(operation.node)
  }
  return found
}
