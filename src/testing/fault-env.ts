import type { CrashPolicy, CrashRule } from '../env/crash-states.js'
import type { FaultCounter, FaultRule } from '../env/faults.js'
import { type MemoryEnv, memoryEnv } from '../env/memory-env.js'
import type { OperationRecord } from '../env/operation-trace.js'

/** An environment whose disk fails and crashes on demand. Pass it to `open(path, { env })`; no threads, real time. */
export interface FaultEnv extends MemoryEnv {
  /** What it was made with. */
  readonly seed: number
  /** Makes an operation fail, or misbehave. The counter tells how often it did: check it. */
  inject(rule: FaultRule): FaultCounter
  /** Ends every fault. */
  clearFaults(): void
  /** The size of the disk in bytes; what is there already counts. A write that does not fit is cut short first. */
  setCapacity(bytes: number): void
  /** As a killed process leaves the disk: all that was handed to the system. This environment stays as it is. */
  kill(): FaultEnv
  /**
   * As a power loss leaves the disk. This environment stays as it is.
   * @param draw another number, another of the states that the policy allows.
   */
  crash(policy: CrashPolicy | CrashRule, draw?: number): FaultEnv
  /** The last few hundred operations, oldest first; all of them since `fs.recordOperations()`. */
  ops(): readonly OperationRecord[]
  /** Files that are open and locks that are held: empty once everything was closed. */
  openHandles(): string[]
}

/**
 * Makes an environment whose disk fails and crashes on demand.
 * @param seed decides random numbers, faults with a probability, and where crashes cut.
 */
export function faultEnv(seed = 1): FaultEnv {
  return wrap(memoryEnv({ seed }), seed)
}

/** The same for files that are there already. */
export function faultEnvOn(fs: MemoryEnv['fs'], seed: number): FaultEnv {
  return wrap(memoryEnv({ seed, fs }), seed)
}

function wrap(env: MemoryEnv, seed: number): FaultEnv {
  const { fs } = env
  return {
    ...env,
    seed,
    inject: (rule) => fs.inject(rule),
    clearFaults: () => fs.clearFaults(),
    setCapacity: (bytes) => fs.setCapacity(bytes),
    kill: () => faultEnvOn(fs.clone(), seed),
    crash: (policy, draw) => faultEnvOn(fs.crash(policy, draw), seed),
    ops: () => fs.ops(),
    openHandles: () => fs.openHandles(),
  }
}
