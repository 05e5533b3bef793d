/** Reads that are under way: what they read goes once there are none, or nobody waits for them any more. */
export class Readers {
  #count = 0
  #isGivenUp = false
  #onNone: (() => void) | undefined

  acquire(): void {
    this.#count++
  }

  release(): void {
    if (--this.#count === 0) this.#onNone?.()
  }

  /** Until there are none. */
  async none(): Promise<void> {
    if (this.#count === 0 || this.#isGivenUp) return
    await new Promise<void>((resolve) => {
      this.#onNone = resolve
    })
  }

  /** Ends the wait for them. */
  giveUp(): void {
    this.#isGivenUp = true
    this.#onNone?.()
  }
}
