import type { TypedStore } from '../access/typed-store.js'
import { VarveError } from '../errors.js'
import type { Durability } from '../store/contract.js'
import { checkDurability } from '../store/options.js'
import { checkOptionNames, type OptionNames } from '../util/option-names.js'
import { backOffMs } from './back-off.js'
import { StoreTransaction, type Transaction } from './transaction.js'

/** Enough for dozens of writers of one key: each round of conflicts has a winner. */
const RETRIES_DEFAULT = 100
const BACK_OFF_MIN_MS = 1
const BACK_OFF_MAX_MS = 100
const NEVER_ABORTED = new AbortController().signal

/** How `transaction` goes about it. */
export interface TransactionOptions {
  /** How often it begins again after a conflict before `VARVE_CONFLICT` is thrown; default 100. */
  readonly retries?: number
  /** Ends it with `VARVE_ABORTED`; what it was about to write is not written. */
  readonly signal?: AbortSignal | undefined
  /** Overrides the store's durability. */
  readonly durability?: Durability
}

const TRANSACTION_NAMES: OptionNames<TransactionOptions> = { retries: true, signal: true, durability: true }

/** Runs `work` in a transaction and commits it, again and again while others change what it read. */
export async function transact<K, V, R>(
  typed: TypedStore<K, V>,
  work: (tx: Transaction<K, V>) => R | Promise<R>,
  options: TransactionOptions,
): Promise<R> {
  checkOptionNames('transaction', options, TRANSACTION_NAMES)
  const { retries = RETRIES_DEFAULT, signal, durability } = options
  if (typeof work !== 'function') throw invalid('a transaction takes a function')
  if (!Number.isInteger(retries) || retries < 0) throw invalid('retries is a whole number')
  if (durability !== undefined) checkDurability(durability)
  const { env } = typed.store
  for (let conflicts = 0; ; conflicts++) {
    typed.store.throwIfClosed()
    const tx = new StoreTransaction(typed, signal ?? NEVER_ABORTED)
    try {
      throwIfAborted(signal)
      tx.begin()
      const result = await ended(Promise.resolve(work(tx)), signal)
      await tx.commit(durability === undefined ? {} : { durability })
      return result
    } catch (error) {
      if (!tx.hasConflict || conflicts === retries) throw error
    } finally {
      tx.close()
    }
    await env.clock.sleep(backOffMs(conflicts + 1, BACK_OFF_MIN_MS, BACK_OFF_MAX_MS, env.random))
  }
}

/** A transaction that its caller commits. */
export function beginTransaction<K, V>(
  typed: TypedStore<K, V>,
  options: { readonly signal?: AbortSignal },
): StoreTransaction<K, V> {
  checkOptionNames('begin', options, { signal: true })
  const tx = new StoreTransaction(typed, options.signal ?? NEVER_ABORTED, false)
  tx.begin()
  return tx
}

/** As `work`, or fails with the signal: what `work` does later is its own affair. */
function ended<R>(work: Promise<R>, signal: AbortSignal | undefined): Promise<R> {
  if (!signal) return work
  return new Promise<R>((resolve, reject) => {
    const onAbort = () => reject(aborted())
    signal.addEventListener('abort', onAbort, { once: true })
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort))
  })
}

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw aborted()
}

function aborted(): VarveError {
  return new VarveError('VARVE_ABORTED', 'the signal ended the transaction')
}

function invalid(message: string): VarveError {
  return new VarveError('VARVE_INVALID_ARGUMENT', message)
}
