/** What a loop ends with that was told to stop. */
export class Stopped extends Error {}

/** Tells one loop to stop, also while it waits for something. */
export class StopSignal {
  #isOn = false
  /** Ends what the loop waits for. */
  #interrupt: (() => void) | undefined

  get isOn(): boolean {
    return this.#isOn
  }

  turnOn(): void {
    this.#isOn = true
    this.#interrupt?.()
  }

  turnOff(): void {
    this.#isOn = false
  }

  /** Waits for `work`, one at a time. @throws Stopped as soon as the signal is on. */
  until(work: PromiseLike<void>): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      const end = () => {
        this.#interrupt = undefined
      }
      this.#interrupt = () => {
        end()
        reject(new Stopped())
      }
      work.then(
        () => {
          end()
          resolve()
        },
        (error: unknown) => {
          end()
          reject(error)
        },
      )
      if (this.#isOn) this.#interrupt()
    })
  }
}
