import type { Position } from '../key/position.js'
import type { TreeView } from '../tree/tree-view.js'
import type { Bytes } from '../util/bytes.js'

/** Fewer deleted keys in a row are walked again by the next reader: remembering them would cost as much. */
const DEAD_KEYS_MIN = 32

/** The deleted keys that a cursor walks over before its first entry: told to the tree where they are many. */
export class DeadStretch {
  readonly #view: TreeView
  readonly #position: Position
  /** Where it began; `key` undefined: at the end of all keys, going backward. */
  #edge: { readonly key: Bytes | undefined } | undefined
  #keys = 0

  constructor(view: TreeView, position: Position) {
    this.#view = view
    this.#position = position
  }

  /** Whether the tree should know of it once it ends. */
  get isWorthIt(): boolean {
    if (this.#keys < DEAD_KEYS_MIN || !this.#edge) return false
    // What is dead for a reader of the past may be alive again.
    return this.#position >= this.#view.memtables[0]!.lastPosition
  }

  /** The cursor was placed at `key`. After a wait for blocks it is placed again, and the stretch goes on. */
  begin(key: Bytes | undefined): void {
    if (this.#keys === 0) this.#edge = { key }
  }

  pass(): void {
    this.#keys++
  }

  forget(): void {
    this.#edge = undefined
    this.#keys = 0
  }

  /** Going forward, everything before `to` was dead; undefined: everything. */
  endForward(to: Bytes | undefined): void {
    if (this.isWorthIt) this.#view.gaps.note(this.#edge!.key!, to, this.#position, this.#view.memtables)
    this.forget()
  }

  /** Going backward, everything from `from` on was dead. */
  endBackward(from: Bytes): void {
    if (this.isWorthIt) this.#view.gaps.note(from, this.#edge!.key, this.#position, this.#view.memtables)
    this.forget()
  }
}
