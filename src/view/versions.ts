import { checkReach } from '../access/reader.js'
import { VarveError } from '../errors.js'
import type { Position } from '../key/position.js'
import { checkpointStore } from '../store/maintenance.js'
import { Build } from './build.js'
import { checkEncodings, freshRecord, installedRecord } from './candidates.js'
import type { ViewReadOptions, ViewStatus } from './contract.js'
import { Deferred } from './deferred.js'
import type { ViewRecord } from './record.js'
import type { Definition } from './resolve.js'
import { type FoundVersion, findVersions, type VersionHost } from './version-finder.js'
import { Waiters } from './waiters.js'

/**
 * The versions of one view: which answers, which is being built, which is kept. One change of that at a time. The
 * switch is one assignment, once the new version's record says, durably, that it answers.
 */
export class Versions {
  readonly #host: VersionHost
  readonly #name: string
  readonly #waiters: Waiters
  #target: Definition | undefined
  #serving: Build | undefined
  #building: Build | undefined
  #previous: Build | undefined
  /** The old version has stopped for the switch, which comes once the new one has reached it. */
  #hasPausedOld = false
  /** Directories that go once a new version answers. */
  #superseded: string[] = []
  #servingNumber = 0
  #buildNumber = 1
  readonly #retiring = new Map<Build, Promise<void>>()
  #ready = new Deferred<void>()
  #isClosed = false
  /** Changes come one after another. */
  #tail: Promise<unknown> = Promise.resolve()

  constructor(host: VersionHost, name: string) {
    this.#host = host
    this.#name = name
    this.#waiters = new Waiters(host.main.store.env)
  }

  get serving(): Build | undefined {
    return this.#serving
  }

  get mainPosition(): Position {
    return this.#host.main.store.position
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  get version(): string {
    return (this.#serving ?? this.#building)?.definition.version ?? this.#target?.version ?? ''
  }

  get ready(): Promise<void> {
    return this.#ready.promise
  }

  get error(): VarveError | undefined {
    return this.#building ? this.#building.error : this.#serving?.error
  }

  get status(): ViewStatus {
    if (this.error) return 'failed'
    return this.#building || !this.#serving ? 'building' : 'live'
  }

  get mainKeys() {
    return this.#host.main.keys
  }

  /** The version that answers, if it has what the read asks for. @throws VarveError `VARVE_CLOSED`. */
  answering(options: ViewReadOptions | undefined): Build | undefined {
    this.#throwIfClosed()
    const build = this.#serving
    if (options === undefined || !build) return build
    checkOptions(options)
    return options.atLeast === undefined || build.position >= options.atLeast ? build : undefined
  }

  /** As `answering`, at once. @throws VarveError `VARVE_TIMEOUT`. */
  now(options: ViewReadOptions | undefined): Build {
    const build = this.answering(options)
    if (build) return build
    const { message, position } = this.#describe(options?.atLeast)
    throw new VarveError('VARVE_TIMEOUT', message, { position })
  }

  /** The version that answers, once it has what the read asks for. */
  async reached(options: ViewReadOptions = {}): Promise<Build> {
    for (;;) {
      const build = this.answering(options)
      if (build) return build
      checkOptions(options)
      const hopeless = this.#hopeless()
      if (hopeless) throw hopeless
      const { atLeast = 0 } = options
      await this.#waiters.wait(atLeast, options, () => this.#describe(atLeast))
    }
  }

  /** Opens what is there of the view, and builds what is not. */
  define(definition: Definition): Promise<void> {
    return this.#change(async () => {
      if (this.#target?.version === definition.version) {
        const message = `the view ${this.#name} is open already, with version ${definition.version}`
        throw new VarveError('VARVE_LOCKED', message)
      }
      if (this.#previous?.definition.version === definition.version) {
        throw invalid(`version ${definition.version} is kept: go back to it with rollback`)
      }
      const abandoned = this.#building
      this.#building = undefined
      this.#hasPausedOld = false
      if (abandoned) await this.#remove(abandoned)
      this.#target = definition
      this.#renewReady()
      await this.#holdingLog(() => this.#openAll(definition))
    })
  }

  retry(): Promise<void> {
    return this.#change(async () => {
      const build = this.#building ?? this.#serving
      if (!build?.error) return
      this.#renewReady()
      if (build.error.code === 'VARVE_POSITION_LOST') {
        if (build === this.#building) await this.#remove(build)
        await this.#holdingLog(() => this.#startFresh(build.definition))
        return
      }
      if (!build.store.failure && !build.store.isClosed) {
        build.start()
        if (build === this.#serving) this.#ready.resolve()
        return
      }
      const isServing = build === this.#serving
      await build.close()
      const again = await this.#open(build.directory, () => build.definition, build.definition)
      await again.loadMemory()
      if (isServing) this.#serve(again)
      else this.#building = again
      again.start()
    })
  }

  rollback(): Promise<void> {
    return this.#change(async () => {
      const { previous, newer } = { previous: this.#previous, newer: this.#serving }
      if (!previous || !newer || previous.error) throw invalid('there is no version to go back to')
      if (this.#building)
        throw invalid('a version is being built: go back once it answers, or close the view')
      await newer.stop()
      await previous.reach(newer.position)
      await previous.stop()
      if (previous.error) {
        newer.start()
        throw previous.error
      }
      await previous.commitServing(++this.#servingNumber)
      this.#previous = undefined
      this.#target = previous.definition
      this.#serve(previous)
      this.#retire(newer)
      previous.start()
    })
  }

  dropPrevious(): Promise<void> {
    return this.#change(async () => {
      const previous = this.#previous
      this.#previous = undefined
      if (previous) await this.#remove(previous)
      for (const path of this.#superseded.splice(0)) await this.#host.directories.remove(path)
    })
  }

  checkpoint(path: string): Promise<{ position: Position }> {
    return this.#change(async () => {
      const build = this.now(undefined)
      if (typeof path !== 'string' || path === '') throw invalid('a path is a string')
      await build.stop()
      try {
        const { position } = build
        await checkpointStore(build.store, build.store.env.fs.resolve(path))
        return { position }
      } finally {
        if (!build.error) build.start()
      }
    })
  }

  async close(): Promise<void> {
    this.#isClosed = true
    const error = new VarveError('VARVE_CLOSED', `the view ${this.#name} is closed`)
    this.#waiters.reject(error)
    this.#ready.reject(error)
    for (const build of this.#builds()) build.interrupt()
    await this.#tail.catch(() => {})
    for (const build of this.#retiring.keys()) build.readers.giveUp()
    await Promise.all([...this.#builds()].map((build) => build.close()))
    await Promise.all(this.#retiring.values())
  }

  /** No bytes are left. Only once it is closed. */
  async removeAll(): Promise<void> {
    for (const { path, isRemoved } of this.#host.directories.list(this.#name)) {
      if (!isRemoved) await this.#host.directories.remove(path)
    }
  }

  /** What the log still has stays until every version has pinned what it needs. */
  async #holdingLog(work: () => Promise<void>): Promise<void> {
    const { archive, oldestPosition } = this.#host.main.store
    const guard = archive.pin(oldestPosition - 1)
    try {
      await work()
    } finally {
      guard.release()
    }
  }

  *#builds(): Generator<Build> {
    for (const build of [this.#serving, this.#building, this.#previous]) if (build) yield build
  }

  async #openAll(target: Definition): Promise<void> {
    const open = new Set([...this.#builds(), ...this.#retiring.keys()].map(({ directory }) => directory))
    const { found, nextBuild } = await findVersions(this.#host, target, open, (path, definitionOf) =>
      this.#open(path, definitionOf, target),
    )
    this.#buildNumber = Math.max(this.#buildNumber, nextBuild)
    const { main } = this.#host
    const wrong = found.filter(({ standing }) => standing === 'wrong')
    for (const { build } of wrong) await this.#remove(build)
    const sound = found.filter(({ standing }) => standing !== 'wrong')
    sound.sort((a, b) => b.build.record.serving - a.build.record.serving)
    this.#servingNumber = Math.max(this.#servingNumber, ...sound.map(({ build }) => build.record.serving))
    const served = this.#serving ? undefined : sound.find(({ build }) => build.record.serving > 0)
    const own = sound.find(
      ({ directory, standing }) => directory.version === target.version && standing === 'good',
    )
    if (own) checkEncodings(own.build.record, target.encodings)
    for (const one of sound) {
      if (one === own || one === served) continue
      await this.#settleOther(one, target)
    }
    if (served && served !== own) await this.#openOld(served)
    if (!own) await this.#startFresh(target)
    else if (own === served) {
      await own.build.loadMemory()
      this.#serve(own.build)
      this.#ready.resolve()
    } else this.#building = own.build
    main.store.throwIfClosed()
    for (const build of this.#builds()) build.start()
  }

  /** A version that answered before, or was never finished. */
  async #settleOther({ build, standing }: FoundVersion, target: Definition): Promise<void> {
    const isKept = target.keepsPrevious && build.record.serving > 0 && this.#superseded.length === 0
    if (!isKept || this.#previous) {
      await this.#remove(build)
    } else if (build.definition === target.previous && standing === 'good') {
      this.#previous = build
    } else {
      // It stays as it is: opening its version again goes on with it.
      this.#superseded.push(build.directory)
      await build.close()
    }
  }

  /** The version that answered last goes on, as far as it can be read. */
  async #openOld({ build, standing }: FoundVersion): Promise<void> {
    const { definition, directory } = build
    const canRead = definition.isFrozen ? definition.version !== '' : true
    if (!canRead) {
      this.#superseded.push(directory)
      await build.close()
      return
    }
    if (standing === 'good') {
      await build.loadMemory()
      this.#serve(build)
      return
    }
    await build.close()
    const frozen = { ...definition, isFrozen: true }
    const again = await this.#open(directory, () => frozen, definition)
    await again.loadMemory()
    this.#serve(again)
  }

  async #startFresh(definition: Definition): Promise<void> {
    const { main, storeId, directories } = this.#host
    const { from, encodings, install } = definition
    const { path, build } = directories.next(this.#name, definition.version, this.#buildNumber)
    this.#buildNumber = build + 1
    if (install !== undefined) {
      await directories.copy(main.store.env.fs.resolve(install), path)
      const installed = await this.#open(path, () => definition, definition)
      try {
        const { hasRecord, record } = installed
        await installed.adopt(installedRecord(hasRecord ? record : undefined, main.store, storeId, encodings))
      } catch (error) {
        await this.#remove(installed)
        throw error
      }
      this.#building = installed
    } else {
      // Before anything is created: it may be refused.
      freshRecord(main.store, storeId, from, encodings)
      this.#building = await this.#open(path, () => definition, definition)
    }
    this.#building.start()
  }

  #open(
    directory: string,
    definitionOf: (record: ViewRecord) => Definition,
    { storeOptions, from, encodings }: Definition,
  ): Promise<Build> {
    const { main, storeId } = this.#host
    // `from: 'start'` was checked where it matters: there it is fresh.
    const isPast = main.store.oldestPosition > 1 && from === 'start'
    const fresh = freshRecord(main.store, storeId, isPast ? undefined : from, encodings)
    let build: Build | undefined
    const hooks = {
      onAdvance: () => {
        if (build && build === this.#serving) this.#waiters.reached(build.position)
      },
      onGroup: async (isCaughtUp: boolean) => {
        const isDue = isCaughtUp || this.#hasPausedOld
        if (isDue && build && build === this.#building) await this.#takeOver(build)
      },
      onFailure: (error: VarveError) => this.#onFailure(build, error),
    }
    return Build.open({ main, directory, definitionOf, storeOptions, hooks }, fresh).then((opened) => {
      build = opened
      return opened
    })
  }

  /** From within the loop of `next`, which waits. */
  async #takeOver(next: Build): Promise<void> {
    const old = this.#serving
    await old?.stop()
    // Nobody may see the view go back: the old one stands still until the new one is there.
    this.#hasPausedOld = true
    if (this.#isClosed || (old && next.position < old.position)) return
    await next.commitServing(++this.#servingNumber)
    if (this.#isClosed || next !== this.#building) return
    this.#building = undefined
    this.#hasPausedOld = false
    this.#serve(next)
    this.#ready.resolve()
    const { store } = this.#host.main
    const { name, version } = next.definition
    store.events.emit({ type: 'view.switched', name, version })
    this.#settleOld(old, next.definition)
  }

  #settleOld(old: Build | undefined, { keepsPrevious }: Definition): void {
    const stale = this.#superseded.splice(0)
    if (keepsPrevious && old && !old.definition.isFrozen) {
      if (this.#previous) this.#retire(this.#previous)
      this.#previous = old
      old.start()
    } else if (keepsPrevious && old) {
      this.#superseded.push(old.directory)
      this.#closeWhenUnused(old, false)
    } else if (old) this.#retire(old)
    for (const path of stale) {
      // What cannot be removed now is recognised at the next open.
      void this.#host.directories.remove(path).catch(() => {})
    }
  }

  #serve(build: Build): void {
    this.#serving = build
    this.#waiters.reached(build.position)
  }

  #retire(build: Build): void {
    this.#closeWhenUnused(build, true)
  }

  #closeWhenUnused(build: Build, isRemoved: boolean): void {
    const run = async () => {
      await build.stop()
      await build.readers.none()
      await build.close()
      if (isRemoved) await this.#host.directories.remove(build.directory)
    }
    const running = run()
      .catch(() => {})
      .finally(() => this.#retiring.delete(build))
    this.#retiring.set(build, running)
  }

  async #remove(build: Build): Promise<void> {
    await build.close()
    await this.#host.directories.remove(build.directory)
  }

  #onFailure(build: Build | undefined, error: VarveError): void {
    if (!build || (build !== this.#serving && build !== this.#building)) return
    // It may have been stopped for the switch.
    if (build === this.#building) {
      this.#hasPausedOld = false
      this.#serving?.start()
    }
    this.#ready.reject(error)
    const hopeless = this.#hopeless()
    if (hopeless) this.#waiters.reject(hopeless)
    const { name, version } = build.definition
    this.#host.main.store.events.emit({ type: 'view.failed', name, version, error })
  }

  /** Why no wait would end. */
  #hopeless(): VarveError | undefined {
    const follows = [...this.#builds()].some((build) => build.isFollowing && !build.error)
    return follows ? undefined : this.error
  }

  #renewReady(): void {
    this.#ready = new Deferred<void>()
  }

  #describe(atLeast: Position | undefined): { message: string; position: Position } {
    const position = this.#serving?.position ?? 0
    if (!this.#serving) return { message: `the view ${this.#name} is still being built`, position }
    return { message: `the view ${this.#name} is at position ${position}, not yet at ${atLeast}`, position }
  }

  #change<R>(work: () => Promise<R>): Promise<R> {
    const result = this.#tail
      .catch(() => {})
      .then(() => {
        this.#throwIfClosed()
        return work()
      })
    this.#tail = result
    result.catch(() => {})
    return result
  }

  #throwIfClosed(): void {
    if (this.#isClosed) throw new VarveError('VARVE_CLOSED', `the view ${this.#name} is closed`)
    this.#host.main.store.throwIfClosed()
  }
}

function checkOptions({ atLeast, timeoutMs }: ViewReadOptions): void {
  checkReach({
    ...(atLeast === undefined ? {} : { atLeast }),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
  })
}

function invalid(message: string): VarveError {
  return new VarveError('VARVE_INVALID_ARGUMENT', message)
}
