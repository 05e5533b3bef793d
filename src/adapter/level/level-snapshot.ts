import { AbstractSnapshot } from 'abstract-level'
import type { Snapshot } from '../../store/contract.js'

/** A snapshot that abstract-level counts the users of. */
export class VarveSnapshot extends AbstractSnapshot {
  readonly inner: Snapshot
  #isClosed = false

  constructor(inner: Snapshot, options: object) {
    // Its type leaves out the options that its constructor takes.
    super(...([options] as unknown as []))
    this.inner = inner
  }

  /** Nothing new may use it; what already does goes on. */
  get isClosed(): boolean {
    return this.#isClosed
  }

  override close(): Promise<void> {
    this.#isClosed = true
    return super.close()
  }

  async _close(): Promise<void> {
    this.inner.close()
  }
}
