// Runs programs one after another, each in the directory it stands in; prints what each printed as JSON.

import { dirname } from 'node:path'
import { chdir } from 'node:process'
import { pathToFileURL } from 'node:url'
import { format } from 'node:util'

const outputs = []
for (const file of process.argv.slice(2)) {
  const lines = []
  console.log = (...args) => lines.push(`${format(...args)}\n`)
  chdir(dirname(file))
  try {
    await import(pathToFileURL(file).href)
  } catch (error) {
    lines.push(`${error.stack ?? error}\n`)
  }
  outputs.push(lines.join(''))
}
process.stdout.write(JSON.stringify(outputs))
