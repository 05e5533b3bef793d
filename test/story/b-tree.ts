import type { File } from '../../src/env/env.js'
import type { MemoryFileSystem } from '../../src/env/memory-file-system.js'

/** A disk sector: a page is written whole or not at all. */
export const PAGE_BYTES = 512
const KEYS_MAX = 4

/** Keys, and for an inner page one child more than keys. */
export interface Page {
  readonly keys: readonly string[]
  readonly children: readonly number[]
}

/** Writes pages in place. What `before` makes durable first is what a log is for. */
export type WritePages = (pages: ReadonlyMap<number, Page>) => Promise<void>

/**
 * A B-tree of keys for teaching: pages of one file, written in place, the root always page 0. A split writes three
 * pages: the two halves and their parent.
 */
export class BTree {
  readonly #pages: Map<number, Page>
  readonly #write: WritePages
  #next: number

  constructor(pages: ReadonlyMap<number, Page>, write: WritePages) {
    this.#pages = new Map(pages)
    this.#write = write
    this.#next = Math.max(0, ...pages.keys()) + 1
  }

  /** Writes every page that changed; returns how many. */
  async insert(key: string): Promise<number> {
    const changed = new Map<number, Page>()
    const path = this.#pathTo(key)
    const leaf = path.at(-1)!
    const page = this.#pages.get(leaf) ?? { keys: [], children: [] }
    changed.set(leaf, { ...page, keys: [...page.keys, key].sort() })
    for (let i = path.length - 1; i >= 0; i--) this.#splitIfFull(path[i]!, path[i - 1], changed)
    for (const [number, fresh] of changed) this.#pages.set(number, fresh)
    await this.#write(changed)
    return changed.size
  }

  #pathTo(key: string): number[] {
    const path = [0]
    for (;;) {
      const page = this.#pages.get(path.at(-1)!)
      if (!page || page.children.length === 0) return path
      const at = page.keys.findIndex((separator) => key < separator)
      path.push(page.children[at < 0 ? page.keys.length : at]!)
    }
  }

  #splitIfFull(number: number, parent: number | undefined, changed: Map<number, Page>): void {
    const page = changed.get(number) ?? this.#pages.get(number)!
    if (page.keys.length <= KEYS_MAX) return
    const middle = page.keys.length >> 1
    const isLeaf = page.children.length === 0
    const separator = page.keys[middle]!
    const left = { keys: page.keys.slice(0, middle), children: page.children.slice(0, middle + 1) }
    const right = {
      keys: page.keys.slice(isLeaf ? middle : middle + 1),
      children: page.children.slice(middle + 1),
    }
    const rightNumber = this.#next++
    changed.set(rightNumber, right)
    if (parent === undefined) {
      const leftNumber = this.#next++
      changed.set(leftNumber, left)
      changed.set(0, { keys: [separator], children: [leftNumber, rightNumber] })
      return
    }
    changed.set(number, left)
    const above = changed.get(parent) ?? this.#pages.get(parent)!
    const at = above.children.indexOf(number)
    changed.set(parent, {
      keys: above.keys.toSpliced(at, 0, separator),
      children: above.children.toSpliced(at + 1, 0, rightNumber),
    })
  }
}

export function encodePage(page: Page): Buffer {
  const bytes = Buffer.alloc(PAGE_BYTES, ' ')
  bytes.write(JSON.stringify(page))
  return bytes
}

export function decodePage(bytes: Uint8Array): Page | undefined {
  try {
    return JSON.parse(Buffer.from(bytes).toString()) as Page
  } catch {
    return undefined
  }
}

/** Writes pages in place, one after another, then syncs the file. */
export function inPlace(file: File): WritePages {
  return async (pages) => {
    for (const [number, page] of pages) file.write(encodePage(page), number * PAGE_BYTES)
    file.sync()
  }
}

/** The pages that a file holds; a page of zeros was never written. */
export function readPages(fs: MemoryFileSystem, path: string): Map<number, Page | undefined> {
  const pages = new Map<number, Page | undefined>()
  if (!fs.stat(path)) return pages
  const bytes = fs.readFile(path)
  for (let at = 0; at < bytes.length; at += PAGE_BYTES) {
    const page = bytes.subarray(at, at + PAGE_BYTES)
    if (page.some((byte) => byte !== 0)) pages.set(at / PAGE_BYTES, decodePage(page))
  }
  return pages
}

/** What is wrong with the tree; undefined if nothing is. `keys` gets what it holds, in order. */
export function checkTree(pages: ReadonlyMap<number, Page | undefined>, keys: string[]): string | undefined {
  const seen = new Set<number>()
  const visit = (number: number, low: string, high: string): string | undefined => {
    if (seen.has(number)) return `page ${number} has two parents`
    seen.add(number)
    const page = pages.get(number)
    if (!page) return number === 0 ? undefined : `a dangling pointer to page ${number}`
    const isOrdered = page.keys.every(
      (key, i) => key >= low && key < high && (i === 0 || key > page.keys[i - 1]!),
    )
    if (!isOrdered) return `page ${number} holds keys that are not its own`
    if (page.children.length === 0) {
      keys.push(...page.keys)
      return undefined
    }
    if (page.children.length !== page.keys.length + 1) return `page ${number} has lost a child`
    for (const [i, child] of page.children.entries()) {
      const fault = visit(child, page.keys[i - 1] ?? low, page.keys[i] ?? high)
      if (fault) return fault
    }
    return undefined
  }
  return visit(0, '', '\uffff')
}
