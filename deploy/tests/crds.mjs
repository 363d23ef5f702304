// Checks custom resources by the packages @kubernetes-models/*: their validators know patterns and what is
// required; their types, through the TypeScript compiler, know the fields that there are.
//
//   node crds.mjs CRDS_FOLDER <objects.json     prints a list: what is wrong with each, null for a kind
//                                               that no package has
// CRDS_FOLDER/NAME/node_modules/@kubernetes-models/NAME for each package, and CRDS_FOLDER/typescript.
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

const folder = resolve(process.argv[2])
const packages = {
  'cert-manager.io': 'cert-manager',
  'gateway.networking.k8s.io': 'gateway-api',
  'monitoring.coreos.com': 'prometheus-operator',
  'traefik.io': 'traefik',
}

const objects = JSON.parse(readFileSync(0, 'utf8'))
const answers = await Promise.all(objects.map(validate))
typecheck()
console.log(JSON.stringify(answers))

// without its ending
function moduleOf(object) {
  const [group, version] = object.apiVersion.split('/')
  const name = packages[group]
  if (!name) return null
  const root = join(folder, name, 'node_modules/@kubernetes-models', name)
  if (!existsSync(root)) throw new Error(`${root} is not there`)
  return join(root, group, version, object.kind)
}

async function validate(object) {
  const path = moduleOf(object)
  if (!path) return null
  if (!existsSync(`${path}.js`)) return [`there is no ${object.apiVersion} ${object.kind}`]
  const { [object.kind]: Model } = await import(pathToFileURL(`${path}.js`))
  try {
    new Model(object).validate()
    return []
  } catch (error) {
    return [error.message]
  }
}

// Each object becomes a literal of its type: fields that the type does not have are errors then.
function typecheck() {
  const ts = createRequire(join(folder, 'typescript/'))('typescript')
  const scratch = mkdtempSync(join(tmpdir(), 'forebay-crds-'))
  try {
    const files = new Map()
    objects.forEach((object, index) => {
      const path = moduleOf(object)
      if (!path || answers[index].length) return
      const file = join(scratch, `object${index}.ts`)
      writeFileSync(file, `import type { I${object.kind} } from ${JSON.stringify(`${path}.js`)}\n` +
        `export const object: I${object.kind} = ${JSON.stringify(object, null, 1)}\n`)
      files.set(file, index)
    })
    const program = ts.createProgram([...files.keys()], {
      module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext,
      target: ts.ScriptTarget.ES2022, strict: true, noEmit: true, skipLibCheck: true, types: [],
    })
    for (const found of ts.getPreEmitDiagnostics(program)) {
      const index = files.get(found.file?.fileName)
      const text = ts.flattenDiagnosticMessageText(found.messageText, ' ')
      if (index === undefined) throw new Error(text)
      answers[index].push(text)
    }
  } finally {
    rmSync(scratch, { recursive: true })
  }
}
