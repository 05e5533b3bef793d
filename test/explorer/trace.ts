/** A system call that changes files, or promises something of them, as strace saw it. */
export type TraceEvent =
  | { readonly kind: 'create' | 'makeDirectory' | 'remove'; readonly path: string }
  | { readonly kind: 'write'; readonly path: string; readonly offset: number; readonly bytes: Buffer }
  /** `begin` and `end` of a sync that others ran beside carry the same id. */
  | { readonly kind: 'sync' | 'syncBegin' | 'syncEnd'; readonly path: string; readonly id: string }
  | { readonly kind: 'rename' | 'link'; readonly path: string; readonly to: string }
  | { readonly kind: 'say'; readonly line: string }

const CALLS =
  'openat,write,pwrite64,writev,pwritev,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,rmdir,link,linkat,mkdir,mkdirat'

/** How strace is called, before the command. */
export function straceArguments(output: string): string[] {
  return ['-f', '-y', '-xx', '-s', '100000000', '-e', `trace=${CALLS}`, '-e', 'signal=none', '-o', output]
}

/** The events below `root`, in order; an operation counts from its end, what a sync covers from its beginning. */
export function parseTrace(text: string, root: string): TraceEvent[] {
  const events: TraceEvent[] = []
  const unfinished = new Map<string, string>()
  for (const line of text.split('\n')) {
    const match = /^(\d+)\s+(.*)$/.exec(line)
    if (!match) continue
    const [, pid, rest] = match as unknown as [string, string, string]
    if (rest.endsWith('<unfinished ...>')) {
      const call = rest.slice(0, -'<unfinished ...>'.length).trimEnd()
      unfinished.set(pid, call)
      const path = syncedPath(call)
      if (path?.startsWith(root)) events.push({ kind: 'syncBegin', path, id: pid })
      continue
    }
    const resumed = /^<\.\.\. \w+ resumed>(.*)$/.exec(rest)
    const call = resumed ? unfinished.get(pid)! + resumed[1] : rest
    const event = parseCall(call, root)
    if (event?.kind === 'sync' && resumed) events.push({ ...event, kind: 'syncEnd', id: pid })
    else if (event) events.push(event)
  }
  return events
}

function syncedPath(call: string): string | undefined {
  return /^f(?:data)?sync\(\d+<([^>]*)>/.exec(call)?.[1]?.replace(/^.*$/, unhex)
}

function parseCall(call: string, root: string): TraceEvent | undefined {
  const parsed = /^(\w+)\((.*)\)\s+= (-?\d+)/.exec(call)
  if (!parsed || parsed[3]!.startsWith('-')) return undefined
  const [, name, inner] = parsed as unknown as [string, string, string]
  const result = Number(parsed[3])
  const names = [...inner.matchAll(/"((?:\\x[0-9a-f]{2})*)"/g)].map((found) => unhex(found[1]!))
  const fdPath = unhex(/^\d+<((?:\\x[0-9a-f]{2})*)>/.exec(inner)?.[1] ?? '')
  if (name === 'write' && /^1</.test(inner)) return { kind: 'say', line: names[0]!.trimEnd() }
  const path = name.startsWith('f') || name.includes('write') ? fdPath : (names[0] ?? '')
  if (!path.startsWith(root) || path.endsWith('/LOCK') || inner.includes('(deleted)')) return undefined
  return eventOf(name, inner, path, names, result)
}

function eventOf(
  name: string,
  inner: string,
  path: string,
  names: readonly string[],
  result: number,
): TraceEvent | undefined {
  switch (name) {
    case 'openat':
      return inner.includes('O_CREAT') ? { kind: 'create', path } : undefined
    case 'mkdir':
    case 'mkdirat':
      return { kind: 'makeDirectory', path }
    case 'pwrite64': {
      const hex = /"((?:\\x[0-9a-f]{2})*)", \d+, (\d+)$/.exec(inner)
      if (!hex) throw new Error(`a write cut short in the trace: ${inner.slice(0, 100)}`)
      return { kind: 'write', path, offset: Number(hex[2]), bytes: bytesOf(hex[1]!).subarray(0, result) }
    }
    case 'fsync':
    case 'fdatasync':
      return { kind: 'sync', path, id: '' }
    case 'rename':
      return { kind: 'rename', path, to: names[1]! }
    case 'link':
      return { kind: 'link', path, to: names[1]! }
    case 'unlink':
    case 'rmdir':
      return { kind: 'remove', path }
    default:
      throw new Error(`a system call that nobody replays: ${name} of ${path}`)
  }
}

function bytesOf(text: string): Buffer {
  return Buffer.from(text.replaceAll('\\x', ''), 'hex')
}

function unhex(text: string): string {
  return bytesOf(text).toString()
}
