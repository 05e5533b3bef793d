import type { TypedStore } from '../access/typed-store.js'
import { VarveError } from '../errors.js'
import type { Position } from '../key/position.js'
import type { ConsumerStats } from '../store/contract.js'
import { type CursorPlace, decodePlace, encodePlace, parseCursorKey } from '../store/cursor-state.js'
import type { Store } from '../store/store.js'
import { checkOptionNames, type OptionNames } from '../util/option-names.js'
import { Consumer, checkPlace, checkPosition } from './consumer.js'
import { ConsumerCursor } from './consumer-cursor.js'
import { lagBehind } from './lag.js'

const NAME_BYTES_MAX = 255

/** Where a consumer that is new begins. */
export interface ConsumerOptions {
  /**
   * `'start'`, the default: with the oldest change that the log still holds; `'now'`: with the next one; a position:
   * with the change after it. A consumer that the store knows goes on where it was.
   */
  readonly from?: 'start' | 'now' | Position
}

const CONSUMER_NAMES: OptionNames<ConsumerOptions> = { from: true }

/** What of an open consumer does not depend on its encodings. */
type AnyConsumer = Pick<Consumer<unknown, unknown>, 'position' | 'seen' | 'close'>

/** The consumers that are open, by name, of each store; undefined while one is being opened. */
const openConsumers = new WeakMap<Store, Map<string, AnyConsumer | undefined>>()

/** Opens a consumer, making it if the store does not know it. */
export async function openConsumer<K, V>(
  typed: TypedStore<K, V>,
  name: string,
  options: ConsumerOptions,
): Promise<Consumer<K, V>> {
  const { store } = typed
  store.throwIfClosed()
  checkName(name)
  checkOptionNames('consumer', options, CONSUMER_NAMES)
  const { from = 'start' } = options
  if (from !== 'start' && from !== 'now') checkFrom(from)
  // A place can only be kept where something can be written.
  store.pipeline.commitNow()
  const open = openOf(store)
  if (open.has(name)) {
    throw new VarveError('VARVE_LOCKED', `the consumer ${name} is open already in this process`)
  }
  open.set(name, undefined)
  try {
    const place = ConsumerCursor.placeOf(typed, name) ?? (await createPlace(typed, name, from))
    const cursor = new ConsumerCursor(typed, name, place)
    const consumer = new Consumer(typed, cursor, () => open.delete(name))
    open.set(name, consumer)
    return consumer
  } catch (error) {
    open.delete(name)
    throw error
  }
}

function checkFrom(from: unknown): void {
  if (typeof from !== 'number')
    throw new VarveError(
      'VARVE_INVALID_ARGUMENT',
      `from is 'start', 'now' or a position, not ${String(from)}`,
    )
  checkPosition(from)
}

/** Every consumer that the store knows, open or not, by name. */
export function consumerStats(store: Store): ConsumerStats[] {
  const open = openOf(store)
  const parkedCounts = new Map<string, number>()
  const places = new Map<string, CursorPlace>()
  for (const [key, state] of store.tree.cursors()) {
    const { name, parked } = parseCursorKey(key)
    if (parked !== undefined) parkedCounts.set(name, (parkedCounts.get(name) ?? 0) + 1)
    const place = parked === undefined ? decodePlace(state) : undefined
    if (place) places.set(name, place)
  }
  return [...places.keys()].sort().map((name) => {
    const consumer = open.get(name)
    const { position, seen } = consumer ?? places.get(name)!
    const parked = parkedCounts.get(name) ?? 0
    return { name, position, ...lagBehind(store, seen), isOpen: consumer !== undefined, parked }
  })
}

/** Closes every consumer of the store; what fails in that fails again where the store is closed. Undefined: none. */
export function closeConsumers(store: Store): Promise<unknown> | undefined {
  const open = [...openOf(store).values()].filter((consumer) => consumer !== undefined)
  if (open.length === 0) return undefined
  return Promise.all(open.map((consumer) => consumer.close().catch(() => {})))
}

function openOf(store: Store): Map<string, AnyConsumer | undefined> {
  const open = openConsumers.get(store) ?? new Map<string, AnyConsumer | undefined>()
  openConsumers.set(store, open)
  return open
}

async function createPlace<K, V>(
  typed: TypedStore<K, V>,
  name: string,
  from: 'start' | 'now' | Position,
): Promise<CursorPlace> {
  const { store, writer } = typed
  const position = from === 'now' ? store.position : from === 'start' ? store.oldestPosition - 1 : from
  checkPlace(typed, position)
  // Until the place is committed and holds the log itself.
  const pin = store.archive.pin(position)
  try {
    const next = store.pipeline.nextPosition
    const place = { position, seen: position === next - 1 ? next : position }
    await writer.commit([], [{ name: Buffer.from(name), state: encodePlace(place) }], undefined)
    return place
  } finally {
    pin.release()
  }
}

function checkName(name: unknown): void {
  if (typeof name !== 'string' || name === '')
    throw invalid('the name of a consumer is a string that is not empty')
  const isText = (name as string & { isWellFormed(): boolean }).isWellFormed() && !name.includes('\0')
  if (!isText) throw invalid('the name of a consumer holds no zero and no half of a surrogate pair')
  if (Buffer.byteLength(name) > NAME_BYTES_MAX) {
    throw new VarveError('VARVE_LIMIT', `the name of a consumer has at most ${NAME_BYTES_MAX} bytes`)
  }
}

function invalid(message: string): VarveError {
  return new VarveError('VARVE_INVALID_ARGUMENT', message)
}
