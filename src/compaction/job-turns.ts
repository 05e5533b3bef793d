/** What is to be known of a job to say when it is its turn. */
export interface TurnTaker {
  /** Goes before those that are not. */
  readonly isUrgent: boolean
  /** Of its turns, what share it leaves to those that are not urgent and wait, from 0 to 1. */
  readonly sharedOut: number
}

/** Whose turn it is: the oldest urgent job's, but for the share that it leaves to the oldest of the others. */
export class JobTurns {
  #credit = 0

  /** @param queue oldest first, not empty. */
  next<T extends TurnTaker>(queue: readonly T[]): T {
    const urgent = queue.find(({ isUrgent }) => isUrgent)
    const other = queue.find(({ isUrgent }) => !isUrgent)
    if (!urgent || !other) return queue[0]!
    this.#credit += urgent.sharedOut
    if (this.#credit < 1) return urgent
    this.#credit -= 1
    return other
  }
}
