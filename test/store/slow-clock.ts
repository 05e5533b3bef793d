import type { Clock } from '../../src/env/env.js'

/** Two milliseconds pass between any two looks at it. */
export function slowClock(clock: Clock): Clock {
  let nowMs = 0
  return {
    wallMs: () => clock.wallMs(),
    monotonicMs: () => {
      nowMs += 2
      return nowMs
    },
    after: (delayMs, callback) => clock.after(delayMs, callback),
    afterUnref: (delayMs, callback) => clock.afterUnref(delayMs, callback),
    sleep: () => clock.sleep(0),
  }
}
