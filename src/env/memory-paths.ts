import type { MemoryNode } from './memory-nodes.js'
import { systemError } from './system-error.js'

/** The names along an absolute path. */
export function namesOf(path: string): string[] {
  if (!path.startsWith('/')) throw systemError('EINVAL', 'open', path)
  const names: string[] = []
  for (const name of path.split('/')) {
    if (name === '..') names.pop()
    else if (name !== '' && name !== '.') names.push(name)
  }
  return names
}

export function isBelow(path: string, directory: string): boolean {
  return `/${namesOf(path).join('/')}`.startsWith(`/${namesOf(directory).join('/')}/`)
}

/** What a rename may put in the place of what. */
export function mustReplace(node: MemoryNode, replaced: MemoryNode | undefined, to: string): void {
  if (replaced === undefined) return
  if (replaced.kind === 'directory') {
    if (node.kind === 'file') throw systemError('EISDIR', 'rename', to)
    if (replaced.names.size > 0) throw systemError('ENOTEMPTY', 'rename', to)
  } else if (node.kind === 'directory') throw systemError('ENOTDIR', 'rename', to)
}
