import { VarveError } from '../errors.js'
import { checkOptionNames, type OptionNames } from '../util/option-names.js'

/** How often and after which waits a handler is tried again. */
export interface RetryOptions {
  /** Calls of the handler for one change, the first one included; default: without end. */
  readonly attempts?: number
  /** The first wait in milliseconds; each is about twice the one before. Default 100. */
  readonly minMs?: number
  /** The longest wait in milliseconds; default 30,000. */
  readonly maxMs?: number
  /** What happens after the last attempt; default `'stop'`. */
  readonly giveUp?: 'stop' | 'park'
}

/**
 * What a consumer does when its handler throws: `'stop'`: `run` fails with `VARVE_HANDLER`, which names the position,
 * and the next `run` begins with that change. `{ retry }`: the handler is called again after a while. `'park'`: the
 * change is put aside, durably, with what was thrown, and the consumer goes on with the next one.
 */
export type ErrorPolicy = 'stop' | 'park' | { readonly retry: RetryOptions }

const POLICY_NAMES: OptionNames<{ readonly retry: RetryOptions }> = { retry: true }
const RETRY_NAMES: OptionNames<RetryOptions> = { attempts: true, minMs: true, maxMs: true, giveUp: true }

/** An `ErrorPolicy`, checked and completed. */
export interface ResolvedPolicy {
  readonly attempts: number
  readonly minMs: number
  readonly maxMs: number
  readonly giveUp: 'stop' | 'park'
}

export function resolvePolicy(policy: ErrorPolicy | undefined): ResolvedPolicy {
  if (policy === undefined || policy === 'stop') return { attempts: 1, minMs: 0, maxMs: 0, giveUp: 'stop' }
  if (policy === 'park') return { attempts: 1, minMs: 0, maxMs: 0, giveUp: 'park' }
  const retry: RetryOptions | undefined | null = (policy as { retry?: RetryOptions } | null)?.retry
  if (typeof retry !== 'object' || retry === null) throw invalid("onError is 'stop', 'park' or { retry }")
  checkOptionNames('onError', policy as object, POLICY_NAMES)
  checkOptionNames('retry', retry, RETRY_NAMES)
  const { attempts = Number.POSITIVE_INFINITY, minMs = 100, maxMs = 30_000, giveUp = 'stop' } = retry
  const isCount = attempts === Number.POSITIVE_INFINITY || (Number.isSafeInteger(attempts) && attempts >= 1)
  if (!isCount) throw invalid('retry.attempts is a whole number of at least 1')
  const isTime = Number.isFinite(minMs) && Number.isFinite(maxMs) && minMs >= 0 && minMs <= maxMs
  if (!isTime) throw invalid('retry.minMs and retry.maxMs are milliseconds, the second not below the first')
  if (giveUp !== 'stop' && giveUp !== 'park') throw invalid("retry.giveUp is 'stop' or 'park'")
  return { attempts, minMs, maxMs, giveUp }
}

/** What a handler threw, as text that fits into a parked change. */
export function describeFailure(failure: unknown): string {
  if (failure instanceof Error) return `${failure.name}: ${failure.message}`
  try {
    return String(failure)
  } catch {
    return typeof failure
  }
}

function invalid(message: string): VarveError {
  return new VarveError('VARVE_INVALID_ARGUMENT', message)
}
