const METHODS = ['open', 'get', 'getMany', 'put', 'del', 'batch', 'clear']
const ITERATORS = ['iterator', 'keys', 'values']
const STEPS = ['next', 'nextv', 'all', 'close']

type Call = (...args: unknown[]) => unknown

/** A database of today as abstract-level 1 showed it: a callback as the last argument. */
export function withCallbacks(db: object): object {
  return wrapped(db, METHODS, (name, call) => {
    if (!ITERATORS.includes(name)) return call
    return (...args) => wrapped(call(...args) as object, STEPS, (_, step) => step)
  })
}

function wrapped(target: object, withCallback: string[], other: (name: string, call: Call) => Call): object {
  return new Proxy(target, {
    get(_, name: string) {
      const found = Reflect.get(target, name, target) as unknown
      if (typeof found !== 'function') return found
      const call = found.bind(target) as Call
      return withCallback.includes(name) ? calledBack(name, call) : other(name, call)
    },
  })
}

function calledBack(name: string, call: Call): Call {
  return (...args) => {
    const callback = args[args.length - 1]
    if (typeof callback !== 'function') return call(...args)
    const promise = call(...args.slice(0, -1)) as Promise<unknown>
    promise.then(
      (value) => (name === 'next' ? callback(null, ...((value as unknown[]) ?? [])) : callback(null, value)),
      (error: unknown) => callback(error),
    )
    return undefined
  }
}
