/** Calls of one iterator that come before earlier ones are answered: each begins when the one before it has ended. */
export class CallQueue {
  #tail: Promise<void> | undefined

  get isEmpty(): boolean {
    return this.#tail === undefined
  }

  run<R>(work: () => Promise<R>): Promise<R> {
    const result = this.#tail ? this.#tail.then(work, work) : work()
    const tail = result
      .catch(() => {})
      .then(() => {
        if (this.#tail === tail) this.#tail = undefined
      })
    this.#tail = tail
    return result
  }

  /** Until the calls so far have ended; never rejects. */
  async done(): Promise<void> {
    await this.#tail
  }
}
