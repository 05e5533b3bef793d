import { type Image, imageOf } from './crash-images.js'
import {
  allNodes,
  applyName,
  DirectoryNode,
  FileNode,
  type MemoryNode,
  type PendingName,
} from './memory-nodes.js'
import type { SeededRandom } from './seeded-random.js'

/** What a power loss leaves of written bytes that no sync covers. */
export type DataPolicy =
  /** Nothing. */
  | 'strict'
  /** What was written before some moment; the write at that moment is torn where a sector ends. */
  | 'prefix'
  /** Any set of blocks of 4 KiB, each as some write left it: writes do not reach the disk in order. */
  | 'blocks4k'
  /** The same of sectors of 512 bytes. */
  | 'sectors512'
  /** All, but the second half of the last write to each file is noise. */
  | 'garbageTail'
  /** The size of the file, but zeros for its bytes. */
  | 'zerosKeepSize'
  /** All. */
  | 'all'

/** What a power loss leaves of names created, renamed and removed since their directory was synced. */
export type NamePolicy =
  | 'strict'
  /** What happened before some moment, as a file system with a journal does: the same one as that of `prefix`. */
  | 'orderedPrefix'
  /** Any of them; of a rename perhaps the new name alone, beside the old one. */
  | 'randomSubset'
  | 'all'

/** What a power loss keeps of contents, and of names. */
export interface CrashRule {
  /** Of what was written and not synced. */
  readonly data: DataPolicy
  /** Of what was created, renamed and removed and not synced. */
  readonly names: NamePolicy
  /** A sync of a file also makes the names durable that it had by then, as on ext4. Default: false. */
  readonly fileSyncPersistsName?: boolean
  /** Overwritten sectors may be old and new side by side, after `blocks4k` and `sectors512`. Default: true. */
  readonly tornOverwrite?: boolean
}

/**
 * Rules by name. `all` is not one of them: it is what a killed process leaves, where everything handed to the
 * system is still there and still not durable.
 */
export type CrashPolicy =
  | 'strict'
  | 'names-kept-data-lost'
  | 'zeros-keep-size'
  | 'data-kept-names-lost'
  | 'prefix'
  | 'garbage-tail'
  | 'blocks'
  | 'sectors'
  | 'names-subset'
  | 'journaled'

/** What each named policy keeps. */
export const CRASH_RULES: Readonly<Record<CrashPolicy, CrashRule>> = {
  strict: { data: 'strict', names: 'strict' },
  'names-kept-data-lost': { data: 'strict', names: 'all' },
  'zeros-keep-size': { data: 'zerosKeepSize', names: 'all' },
  'data-kept-names-lost': { data: 'all', names: 'strict' },
  prefix: { data: 'prefix', names: 'orderedPrefix' },
  'garbage-tail': { data: 'garbageTail', names: 'all' },
  blocks: { data: 'blocks4k', names: 'randomSubset' },
  sectors: { data: 'sectors512', names: 'orderedPrefix' },
  'names-subset': { data: 'all', names: 'randomSubset' },
  journaled: { data: 'sectors512', names: 'all', fileSyncPersistsName: true },
}

/** The policies that between them show most mistakes. */
export const CRASH_POLICIES: readonly CrashPolicy[] = [
  'strict',
  'names-kept-data-lost',
  'zeros-keep-size',
  'data-kept-names-lost',
  'prefix',
  'garbage-tail',
]

/** Every named policy. */
export const ALL_CRASH_POLICIES: readonly CrashPolicy[] = [
  ...CRASH_POLICIES,
  'blocks',
  'sectors',
  'names-subset',
  'journaled',
]

interface Rules {
  /** What is left of the operation, if anything. */
  keptName(operation: PendingName): PendingName | undefined
  image(file: FileNode): Image
}

/** The tree that is left, all of it durable, and a key that is equal for equal states of one file system. */
export function crashTree(
  root: DirectoryNode,
  rule: CrashRule,
  random: SeededRandom,
): { root: DirectoryNode; key: string } {
  const rules = rulesFor(root, rule, random)
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
        for (const [name, child] of [...namesLeft(node, rules)].sort(byName)) {
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

function namesLeft(node: DirectoryNode, rules: Rules): Map<string, MemoryNode> {
  const names = new Map(node.durableNames)
  for (const operation of node.pending) {
    const kept = rules.keptName(operation)
    if (kept !== undefined) applyName(names, kept)
  }
  return names
}

function byName(left: readonly [string, unknown], right: readonly [string, unknown]): number {
  return left[0] < right[0] ? -1 : 1
}

function rulesFor(root: DirectoryNode, rule: CrashRule, random: SeededRandom): Rules {
  const isCut = rule.data === 'prefix' || rule.names === 'orderedPrefix'
  const cut = isCut ? chooseCut(root, random) : 0
  const tear = isCut ? random.uint32() : 0
  return {
    keptName: (operation) => {
      const { node, order } = operation
      const isSynced = rule.fileSyncPersistsName && node?.kind === 'file' && node.syncedOrder > order
      return isSynced ? operation : keptName(operation, rule.names, cut, random)
    },
    image: (file) => imageOf(file, rule, { cut, tear, random }),
  }
}

function keptName(
  operation: PendingName,
  policy: NamePolicy,
  cut: number,
  random: SeededRandom,
): PendingName | undefined {
  switch (policy) {
    case 'strict':
      return undefined
    case 'all':
      return operation
    case 'orderedPrefix':
      return operation.order < cut ? operation : undefined
    case 'randomSubset': {
      const draw = random.below(6)
      if (draw < 3) return undefined
      const { removed: _, ...added } = operation
      return draw === 3 && operation.added !== undefined ? added : operation
    }
  }
}

/** Everything ordered before the result is kept; a write at the result is torn. */
function chooseCut(root: DirectoryNode, random: SeededRandom): number {
  const orders = new Set<number>()
  for (const node of allNodes(root)) {
    for (const item of node.kind === 'file' ? node.writes : node.pending) {
      if (!('isLost' in item && item.isLost)) orders.add(item.order)
    }
  }
  const sorted = [...orders].sort((left, right) => left - right)
  return sorted[random.below(sorted.length)] ?? 0
}
