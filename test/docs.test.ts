import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import ts from 'typescript'
import { expect, it } from 'vitest'

/** The sources of what the package exports. */
function entryPoints(): string[] {
  const { exports } = JSON.parse(readFileSync('package.json', 'utf8')) as {
    exports: Record<string, string | { default: string }>
  }
  return Object.values(exports).flatMap((target) => {
    const path = typeof target === 'string' ? target : target.default
    return path.endsWith('.js') ? [path.replace('./dist/', 'src/').replace(/\.js$/, '.ts')] : []
  })
}

/** Everything of the public surface that has no docstring: exports, and members of classes and interfaces. */
function undocumented(): string[] {
  const { config } = ts.readConfigFile('tsconfig.json', ts.sys.readFile) as { config: unknown }
  const { options } = ts.parseJsonConfigFileContent(config, ts.sys, '.')
  const program = ts.createProgram(entryPoints(), { ...options, noEmit: true })
  const checker = program.getTypeChecker()
  const sources = resolve('src')
  const isOurs = (node: ts.Declaration): boolean => node.getSourceFile().fileName.startsWith(sources)
  const hasDocs = (symbol: ts.Symbol): boolean => symbol.getDocumentationComment(checker).length > 0
  const isHidden = (symbol: ts.Symbol): boolean =>
    symbol.name.startsWith('_') ||
    (symbol.declarations ?? []).every(
      (node) =>
        !isOurs(node) ||
        ts.isConstructorDeclaration(node) ||
        ts.isTypeParameterDeclaration(node) ||
        ts.getJSDocTags(node).some((tag) => tag.tagName.text === 'internal') ||
        (ts.canHaveModifiers(node) &&
          (ts.getModifiers(node) ?? []).some((modifier) => modifier.kind === ts.SyntaxKind.PrivateKeyword)) ||
        ts.getNameOfDeclaration(node)?.kind === ts.SyntaxKind.PrivateIdentifier,
    )
  const missing = new Set<string>()
  for (const entry of entryPoints()) {
    const source = program.getSourceFile(entry)!
    const module = checker.getSymbolAtLocation(source)
    for (const exported of module ? checker.getExportsOfModule(module) : []) {
      const isAlias = (exported.flags & ts.SymbolFlags.Alias) !== 0
      const symbol = isAlias ? checker.getAliasedSymbol(exported) : exported
      if (!hasDocs(symbol) && !isHidden(symbol)) missing.add(symbol.name)
      const members = [...(symbol.members?.values() ?? []), ...(symbol.exports?.values() ?? [])]
      for (const member of members) {
        if (!isHidden(member) && !hasDocs(member)) missing.add(`${symbol.name}.${member.name}`)
      }
    }
  }
  return [...missing].sort()
}

it('every public export and each of its members says what it is', () => {
  expect(undocumented()).toEqual([])
})
