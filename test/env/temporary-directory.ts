import { mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import ts from 'typescript'
import { onTestFinished } from 'vitest'

/** A new directory of this test's own, gone when it has finished. */
export function temporaryDirectory(): string {
  const path = realpathSync(mkdtempSync(join(tmpdir(), 'varve-env-')))
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  return path
}

/** Compiles some sources below `directory`, so that another process can run them. Returns where they are. */
export function compileSources(directory: string, names: readonly string[]): string {
  const target = join(directory, 'js')
  for (const name of names) {
    const source = readFileSync(new URL(`../../src/${name}.ts`, import.meta.url), 'utf8')
    const compilerOptions = { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2022 }
    const path = join(target, `${name}.js`)
    mkdirSync(dirname(path), { recursive: true })
    writeFileSync(path, ts.transpileModule(source, { compilerOptions }).outputText)
  }
  writeFileSync(join(target, 'package.json'), '{"type":"module"}')
  return target
}
