import { describe, expect, it } from 'vitest'
import type { File, FileSystem } from '../../src/env/env.js'
import { MemoryFileSystem } from '../../src/env/memory-file-system.js'
import { nodeEnv } from '../../src/env/node-env.js'
import { replayOperations } from '../../src/env/operation-trace.js'
import { SeededRandom } from '../../src/env/seeded-random.js'
import { errorCode } from '../../src/env/system-error.js'
import { temporaryDirectory } from './temporary-directory.js'

const SEED = Number(process.env['VARVE_SEED'] ?? Date.now() % 2 ** 31)
const SCRIPTS = 40
const OPERATIONS = 120
const NAMES = ['a', 'b', 'c', 'd', 'd/a', 'd/b', 'd/e', 'd/e/a', 'no/a']

/** One file system under one script: every answer, as plain data. */
class Subject {
  readonly #fs: FileSystem
  readonly #root: string
  readonly #files: File[] = []
  readonly answers: unknown[] = []

  constructor(fs: FileSystem, root: string) {
    this.#fs = fs
    this.#root = root
  }

  step(random: SeededRandom): void {
    const path = `${this.#root}/${NAMES[random.below(NAMES.length)]}`
    const other = `${this.#root}/${NAMES[random.below(NAMES.length)]}`
    const draw = random.below(100)
    const number = random.below(5000)
    this.#note(() => this.#act(draw, path, other, number))
  }

  finish(): void {
    for (const file of this.#files) file.close()
  }

  #act(draw: number, path: string, other: string, number: number): unknown {
    const file = this.#files[number % Math.max(1, this.#files.length)]
    if (draw < 12) return void this.#files.push(this.#fs.open(path, 'create'))
    if (draw < 20) return void this.#files.push(this.#fs.open(path, 'read'))
    if (draw < 40) return file?.write(new Uint8Array(number % 700).fill(number), number % 1500)
    if (draw < 52) return this.#read(file, number)
    if (draw < 56) return file?.sync()
    if (draw < 60) return file?.close()
    if (draw < 64) return this.#fs.makeDirectory(path)?.slice(this.#root.length)
    if (draw < 74) return this.#fs.rename(path, other)
    if (draw < 82) return this.#fs.remove(path)
    if (draw < 88) return this.#fs.link(path, other)
    if (draw < 92) return this.#fs.list(path)
    if (draw < 94) return this.#fs.syncDirectory(path)
    if (draw < 96) return file?.sizeBytes()
    const stat = this.#fs.stat(path)
    return stat && [stat.isDirectory, stat.isDirectory ? 0 : stat.sizeBytes]
  }

  #read(file: File | undefined, number: number): unknown {
    const into = new Uint8Array(number % 300)
    const count = file?.read(into, number % 2000)
    return [count, Buffer.from(into).toString('hex')]
  }

  #note(action: () => unknown): void {
    try {
      this.answers.push(action())
    } catch (error) {
      this.answers.push(errorCode(error))
    }
  }
}

/** Every path below a directory, with the content of files. */
function treeOf(fs: FileSystem, root: string, path = ''): Record<string, string> {
  const found: Record<string, string> = {}
  for (const name of fs.list(`${root}${path}`)) {
    const here = `${path}/${name}`
    if (fs.stat(`${root}${here}`)?.isDirectory) {
      Object.assign(found, { [here]: 'directory' }, treeOf(fs, root, here))
      continue
    }
    const file = fs.open(`${root}${here}`, 'read')
    const bytes = new Uint8Array(file.sizeBytes())
    file.read(bytes, 0)
    file.close()
    found[here] = Buffer.from(bytes).toString('hex')
  }
  return found
}

describe(`the memory file system answers as the real one does (seed ${SEED})`, () => {
  // Other systems tell some errors by other codes.
  it.skipIf(process.platform !== 'linux')(
    `in ${SCRIPTS} random scripts of ${OPERATIONS} operations, and its trace can be replayed there`,
    () => {
      for (let script = 0; script < SCRIPTS; script++) {
        const fs = new MemoryFileSystem(script)
        fs.makeDirectory('/root')
        fs.recordOperations()
        const real = temporaryDirectory()
        const subjects = [new Subject(fs, '/root'), new Subject(nodeEnv.fs, real)] as const
        for (let i = 0; i < OPERATIONS; i++) {
          for (const subject of subjects) subject.step(new SeededRandom(SEED + script * 1_000_003 + i))
          expect(subjects[0].answers.at(-1), `script ${script}, operation ${i}`).toEqual(
            subjects[1].answers.at(-1),
          )
        }
        for (const subject of subjects) subject.finish()
        const tree = treeOf(fs, '/root')
        expect(treeOf(nodeEnv.fs, real), `script ${script}`).toEqual(tree)
        const replayed = temporaryDirectory()
        const records = fs.ops()
        replayOperations(nodeEnv.fs, records, (path) => path.replace('/root', replayed))
        expect(treeOf(nodeEnv.fs, replayed), `script ${script}, replayed`).toEqual(tree)
      }
    },
  )
})
