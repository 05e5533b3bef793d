import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Plugin } from 'vitest/config'

const ROOT = fileURLToPath(new URL('..', import.meta.url))

/**
 * Tests import from `src/`. Where `dist/` is newer than all of it they are given that: what is shipped, with its
 * threads, and a fifth faster than modules that Vite transforms. Without a build, or after a change, the sources.
 */
export function compiledSources(): Plugin {
  const dist = join(ROOT, 'dist')
  const isBuilt = newestMs(dist) > newestMs(join(ROOT, 'src'))
  return {
    name: 'compiled-sources',
    config: () => ({
      resolve: { alias: isBuilt ? [{ find: /^(?:\.\.\/)+src\/(.+\.js)$/, replacement: `${dist}/$1` }] : [] },
      test: { server: { deps: { external: [new RegExp(`^${dist.replace(/\W/g, '\\$&')}/`)] } } },
    }),
  }
}

function newestMs(directory: string): number {
  try {
    const files = readdirSync(directory, { recursive: true, withFileTypes: true }).filter((entry) =>
      entry.isFile(),
    )
    return Math.max(0, ...files.map(({ parentPath, name }) => statSync(join(parentPath, name)).mtimeMs))
  } catch {
    return 0
  }
}
