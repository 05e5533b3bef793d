import { ALL_CRASH_POLICIES, type CrashPolicy } from '../env/crash-states.js'
import type { MemoryFileSystem } from '../env/memory-file-system.js'
import { describeOperation } from '../env/operation-trace.js'
import { type FaultEnv, faultEnv, faultEnvOn } from './fault-env.js'

/** What the code under test is given. */
export interface CrashRun {
  /** Where it opens its stores. */
  readonly env: FaultEnv
  /** Notes that something has happened outside: an answer was sent, a write was acknowledged. */
  note(fact: unknown): void
}

/** What a crash left, and what had happened by then. */
export interface CrashLeft {
  /** The disk. Whatever is opened on it must be closed again. */
  readonly env: FaultEnv
  /** What `note` was told before the crash, in order. */
  readonly facts: readonly unknown[]
  /** False: only the process died, and what it had handed to the system is there. */
  readonly isPowerLoss: boolean
  /** What a power loss kept; `'killed'`: the process died and the system went on. */
  readonly policy: CrashPolicy | 'killed'
  /** Readable: `before step 12, write /db/000003.log; names-subset`. */
  readonly when: string
}

/** Code under test, and what must hold whenever it crashed. */
export interface CrashScenario {
  /** Runs the code under test, once. */
  run(run: CrashRun): Promise<void>
  /** Throws if what a crash left is not right. Called for every state that a crash can leave. */
  check(left: CrashLeft): Promise<void>
  /** Default: 1. */
  readonly seed?: number
  /** Power losses to try at each point, besides killing it. Default: all. */
  readonly policies?: readonly CrashPolicy[]
}

/** How much was checked. */
export interface CrashReport {
  /** Moments: before each change of the disk, and at the end. */
  readonly points: number
  /** States checked, over all moments. */
  readonly states: number
}

/** A state that `check` did not accept: `cause` says why. */
export class CrashPointError extends Error {
  /** As `CrashLeft.when`. */
  readonly when: string
  /** What `note` was told before the crash. */
  readonly facts: readonly unknown[]
  /** The operations before the crash, oldest first, one a line. */
  readonly operations: readonly string[]

  constructor(left: CrashLeft, operations: readonly string[], cause: unknown) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    const trace = operations.slice(-SHOWN_OPERATIONS).map((line) => `  ${line}`)
    super([`a crash ${left.when}: ${reason}`, ...trace].join('\n'), { cause })
    this.name = 'CrashPointError'
    this.when = left.when
    this.facts = left.facts
    this.operations = operations
  }
}

/** Operations that the message of an error shows. */
const SHOWN_OPERATIONS = 8

interface Point {
  readonly when: string
  readonly fs: MemoryFileSystem
  readonly factCount: number
  readonly operations: readonly string[]
}

/**
 * Runs a scenario once and checks what a crash would have left before each of its writes, syncs, creations, renames
 * and removals: after the death of the process, and after power losses that keep more or less of what was not
 * synced. Finds what is written twice instead of once, two writes that should be one batch, and acknowledgements
 * that come too early.
 * @throws CrashPointError for the first state that `check` does not accept; what `run` throws.
 */
export async function everyCrashPoint(scenario: CrashScenario): Promise<CrashReport> {
  const { seed = 1, policies = ALL_CRASH_POLICIES } = scenario
  const { points, facts } = await record(scenario, seed)
  let states = 0
  for (const point of points) {
    for (const { name, fs } of point.fs.crashStates(policies)) {
      const policy = name === 'all' ? 'killed' : name
      const left: CrashLeft = {
        env: faultEnvOn(fs, seed),
        facts: facts.slice(0, point.factCount),
        isPowerLoss: policy !== 'killed',
        policy,
        when: `${point.when}; ${policy}`,
      }
      await checkState(scenario, left, point.operations)
      states++
    }
  }
  return { points: points.length, states }
}

async function record(scenario: CrashScenario, seed: number): Promise<{ points: Point[]; facts: unknown[] }> {
  const env = faultEnv(seed)
  const facts: unknown[] = []
  const points: Point[] = []
  const take = (when: string): void => {
    const operations = env.ops().slice(-SHOWN_OPERATIONS * 4)
    const point = { when, fs: env.fs.clone(), factCount: facts.length }
    points.push({ ...point, operations: operations.map(describeOperation) })
  }
  env.fs.onStep = ({ index, op, path }) => take(`before step ${index}, ${op} ${path}`)
  try {
    await scenario.run({ env, note: (fact) => facts.push(fact) })
  } finally {
    env.fs.onStep = undefined
  }
  take('at the end')
  return { points, facts }
}

async function checkState(
  scenario: CrashScenario,
  left: CrashLeft,
  operations: readonly string[],
): Promise<void> {
  try {
    await scenario.check(left)
    const open = left.env.openHandles()
    if (open.length > 0) throw new Error(`the check left open: ${open.join(', ')}`)
  } catch (cause) {
    throw new CrashPointError(left, operations, cause)
  }
}
