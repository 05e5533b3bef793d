import {
  allNodes,
  applyName,
  DirectoryNode,
  FileNode,
  type GrowingBytes,
  type MemoryNode,
  type PendingName,
  type PendingWrite,
} from './memory-nodes.js'
import type { SeededRandom } from './seeded-random.js'

/**
 * What a power loss leaves of the things not yet synced. `all` is not one of them: it is what a killed process
 * leaves, where everything handed to the system is still there and still not durable.
 */
export type CrashPolicy =
  | 'strict'
  | 'names-kept-data-lost'
  | 'zeros-keep-size'
  | 'data-kept-names-lost'
  | 'prefix'
  | 'garbage-tail'

export const CRASH_POLICIES: readonly CrashPolicy[] = [
  'strict',
  'names-kept-data-lost',
  'zeros-keep-size',
  'data-kept-names-lost',
  'prefix',
  'garbage-tail',
]

const SECTOR_BYTES = 512

/** The content of one file after the crash; equal tags of one file mean equal content. */
interface Image {
  readonly bytes: GrowingBytes
  readonly tag: string
}

interface Rules {
  keepsName(operation: PendingName): boolean
  image(file: FileNode): Image
}

/** The tree that is left, all of it durable, and a key that is equal for equal states of one file system. */
export function crashTree(
  root: DirectoryNode,
  policy: CrashPolicy,
  random: SeededRandom,
): { root: DirectoryNode; key: string } {
  const rules = rulesFor(root, policy, random)
  const built = new Map<MemoryNode, MemoryNode>()
  const parts: string[] = []
  const build = (node: MemoryNode, path: string): MemoryNode => {
    let fresh = built.get(node)
    if (fresh === undefined) {
      fresh = node.kind === 'file' ? new FileNode(node.id) : new DirectoryNode(node.id)
      built.set(node, fresh)
      if (node.kind === 'file' && fresh.kind === 'file') {
        const { bytes, tag } = rules.image(node)
        fresh.live = bytes
        fresh.durable = bytes.fork()
        parts.push(`${node.id}=${tag}`)
      } else if (node.kind === 'directory' && fresh.kind === 'directory') {
        const names = new Map(node.durableNames)
        for (const operation of node.pending) if (rules.keepsName(operation)) applyName(names, operation)
        for (const [name, child] of [...names].sort(byName)) {
          const copy = build(child, `${path}/${name}`)
          fresh.names.set(name, copy)
          fresh.durableNames.set(name, copy)
        }
      }
      fresh.modifiedMs = node.modifiedMs
    }
    if (fresh.kind === 'file') fresh.nameCount++
    parts.push(`${path}>${node.id}`)
    return fresh
  }
  return { root: build(root, '') as DirectoryNode, key: parts.join('\n') }
}

function byName(left: readonly [string, unknown], right: readonly [string, unknown]): number {
  return left[0] < right[0] ? -1 : 1
}

function rulesFor(root: DirectoryNode, policy: CrashPolicy, random: SeededRandom): Rules {
  switch (policy) {
    case 'strict':
      return { keepsName: () => false, image: durableImage }
    case 'names-kept-data-lost':
      return { keepsName: () => true, image: durableImage }
    case 'zeros-keep-size':
      return { keepsName: () => true, image: zerosImage }
    case 'data-kept-names-lost':
      return { keepsName: () => false, image: completeImage }
    case 'garbage-tail':
      return { keepsName: () => true, image: (file) => garbageImage(file, random) }
    case 'prefix': {
      const cut = chooseCut(root, random)
      const tear = random.uint32()
      return { keepsName: (operation) => operation.order < cut, image: (file) => cutImage(file, cut, tear) }
    }
  }
}

function survivors(file: FileNode): PendingWrite[] {
  return file.writes.filter((write) => !write.isLost)
}

function durableImage(file: FileNode): Image {
  return { bytes: file.durable.fork(), tag: 'durable' }
}

function completeImage(file: FileNode): Image {
  const writes = survivors(file)
  if (writes.length === 0) return durableImage(file)
  if (writes.length === file.writes.length) return { bytes: file.live.fork(), tag: 'complete' }
  const bytes = file.durable.fork()
  for (const write of writes) bytes.write(write.bytes, write.offset)
  return { bytes, tag: 'complete' }
}

/** Blocks were given to the file, and its size set, before any data reached them. */
function zerosImage(file: FileNode): Image {
  if (file.live.length === file.durable.length) return durableImage(file)
  const bytes = file.durable.fork()
  bytes.extendTo(file.live.length)
  return { bytes, tag: 'zeros' }
}

function garbageImage(file: FileNode, random: SeededRandom): Image {
  const last = survivors(file).at(-1)
  const { bytes } = completeImage(file)
  if (last === undefined) return durableImage(file)
  const from = Math.floor(last.bytes.length / 2)
  const garbage = new Uint8Array(last.bytes.length - from)
  random.fill(garbage)
  bytes.write(garbage, last.offset + from)
  return { bytes, tag: 'garbage' }
}

/** Everything ordered before the result is kept; a write at the result is torn. */
function chooseCut(root: DirectoryNode, random: SeededRandom): number {
  const orders = new Set<number>()
  for (const node of allNodes(root)) {
    const pending = node.kind === 'file' ? survivors(node) : node.pending
    for (const { order } of pending) orders.add(order)
  }
  const sorted = [...orders].sort((left, right) => left - right)
  return sorted[random.below(sorted.length)] ?? 0
}

function cutImage(file: FileNode, cut: number, tear: number): Image {
  const kept = survivors(file).filter((write) => write.order <= cut)
  const last = kept.at(-1)
  if (last === undefined) return durableImage(file)
  const bytes = file.durable.fork()
  let tornAt = last.bytes.length
  for (const write of kept) {
    if (write.order === cut) tornAt = tornLength(write, tear)
    bytes.write(write === last ? write.bytes.subarray(0, tornAt) : write.bytes, write.offset)
  }
  return { bytes, tag: `until ${last.order} ${tornAt}` }
}

/** Sectors are written whole: a write is cut where one ends, and one inside a sector is not there at all. */
function tornLength(write: PendingWrite, tear: number): number {
  const first = Math.floor(write.offset / SECTOR_BYTES) + 1
  const last = Math.ceil((write.offset + write.bytes.length) / SECTOR_BYTES) - 1
  if (last < first) return 0
  return (first + (tear % (last - first + 1))) * SECTOR_BYTES - write.offset
}
