/**
 * Tests of code that uses Varve: files in memory, disks that fail on demand, crashes at every step.
 *
 *     const env = faultEnv(1)
 *     const db = await open('/db', { env })
 *     env.inject({ op: 'sync', path: /\.log$/, effect: { errno: 'EIO' } })
 */
export {
  ALL_CRASH_POLICIES,
  CRASH_RULES,
  type CrashPolicy,
  type CrashRule,
  type DataPolicy,
  type NamePolicy,
} from './env/crash-states.js'
export type { Env } from './env/env.js'
export type { FaultCounter, FaultEffect, FaultRule, MemoryOperation } from './env/faults.js'
export { type MemoryEnv, type MemoryEnvOptions, memoryEnv } from './env/memory-env.js'
export { MemoryFileSystem } from './env/memory-file-system.js'
export { describeOperation, type OperationRecord, replayOperations } from './env/operation-trace.js'
export {
  type CrashLeft,
  CrashPointError,
  type CrashReport,
  type CrashRun,
  type CrashScenario,
  everyCrashPoint,
} from './testing/every-crash-point.js'
export { type FaultEnv, faultEnv } from './testing/fault-env.js'
