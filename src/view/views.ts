import type { TypedStore } from '../access/typed-store.js'
import { SharedWorker } from '../env/shared-worker.js'
import { VarveError } from '../errors.js'
import type { Store } from '../store/store.js'
import type { View, ViewDefinition } from './contract.js'
import { ViewDirectories } from './directories.js'
import { checkViewName, type Definition, resolveDefinition } from './resolve.js'
import type { VersionHost } from './version-finder.js'
import { NamedView } from './view.js'

const viewsOf = new WeakMap<Store, Views>()

/** Opens a view of the store, or another version of one that is open; see `Database.view`. */
export async function openView<K, V, S>(
  typed: TypedStore<K, V>,
  name: string,
  definition: ViewDefinition<K, V, S> | Promise<ViewDefinition<K, V, S>>,
): Promise<View<S>> {
  const isPromise = typeof (definition as { then?: unknown } | null | undefined)?.then === 'function'
  if (isPromise) return openView(typed, name, await definition)
  checkViewName(name)
  // Such names are the engine's own.
  if (name.startsWith('\0')) throw new VarveError('VARVE_INVALID_ARGUMENT', 'no name starts with a zero')
  return openChecked(typed, name, definition as ViewDefinition<K, V, S>)
}

/** As `openView`, also of a view of the engine's own, whose name starts with a zero. */
export async function openChecked<K, V, S>(
  typed: TypedStore<K, V>,
  name: string,
  definition: ViewDefinition<K, V, S>,
): Promise<View<S>> {
  const { store } = typed
  const views = viewsOf.get(store) ?? new Views(store)
  const resolved = resolveDefinition(name, definition as never, views.defaults)
  store.throwIfClosed()
  if (store.options.readOnly) {
    throw new VarveError('VARVE_READ_ONLY', 'the store was opened to be read only: it keeps no views')
  }
  viewsOf.set(store, views)
  const view: unknown = await views.open(typed as unknown as TypedStore<unknown, unknown>, resolved)
  return view as View<S>
}

/** Closes every view of the store; what one failed with is known. Undefined: there is none. Before the store. */
export function closeViews(store: Store): Promise<unknown> | undefined {
  return viewsOf.get(store)?.close()
}

/** Goes on with removals that a crash cut short, in the background. */
export function removeDroppedViews(store: Store): void {
  if (store.options.readOnly) return
  const directories = new ViewDirectories(store.env, store.directory)
  if (directories.list().some(({ isRemoved }) => isRemoved)) viewsOf.set(store, new Views(store))
}

/** The views of one open store. All of them share one background thread, whatever their number. */
class Views {
  readonly #store: Store
  readonly #directories: ViewDirectories
  readonly #worker: SharedWorker
  readonly #open = new Map<string, NamedView>()
  /** Opening one name is one thing at a time. */
  readonly #opening = new Map<string, Promise<unknown>>()
  readonly #leftovers: Promise<void>
  #isClosed = false

  constructor(store: Store) {
    this.#store = store
    this.#directories = new ViewDirectories(store.env, store.directory)
    this.#worker = new SharedWorker(store.env)
    this.#leftovers = this.#directories.removeLeftovers().catch(() => {})
  }

  get defaults() {
    return { env: this.#worker.env, main: this.#store.options }
  }

  async open(main: TypedStore<unknown, unknown>, definition: Definition): Promise<NamedView> {
    const { name } = definition
    const earlier = this.#opening.get(name)
    const opening = this.#openNext(main, definition, earlier)
    this.#opening.set(name, opening)
    try {
      return await opening
    } finally {
      if (this.#opening.get(name) === opening) this.#opening.delete(name)
    }
  }

  /** Never rejects. */
  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.all([...this.#opening.values()].map((opening) => opening.catch(() => {})))
    await Promise.all([...this.#open.values()].map((view) => view.close().catch(() => {})))
    await this.#leftovers
  }

  async #openNext(
    main: TypedStore<unknown, unknown>,
    definition: Definition,
    earlier: Promise<unknown> | undefined,
  ): Promise<NamedView> {
    await earlier?.catch(() => {})
    await this.#leftovers
    if (this.#isClosed) throw new VarveError('VARVE_CLOSED', 'the store is closed')
    const known = this.#open.get(definition.name)
    if (known && !known.isClosed) {
      await known.define(definition)
      return known
    }
    await known?.close()
    const view = await NamedView.open(this.#hostFor(main), definition)
    this.#open.set(definition.name, view)
    return view
  }

  #hostFor(main: TypedStore<unknown, unknown>): VersionHost {
    const storeId = this.#store.storeId.toString('hex')
    return { main, storeId, directories: this.#directories }
  }
}
