/**
 * What server reflection is asked about: the .proto files of some contracts, and those that they need, by name, symbol and
 * extension. Made from the descriptors when first asked, for most servers are never asked.
 */
import { type DescEnum, type DescExtension, type DescFile, type DescMessage, toBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { type AnyContract, sourcesOf } from "../schema/contract.ts";
import { planOf } from "../schema/plan.ts";

export class ReflectionIndex {
  readonly #contracts: AnyContract[];
  #tables: Tables | undefined;
  /** Serialised files; a file does not change. */
  readonly #bytes: WeakMap<DescFile, Uint8Array<ArrayBuffer>>;

  constructor() {
    this.#contracts = [];
    this.#tables = undefined;
    this.#bytes = new WeakMap();
  }

  /** A contract is served from now on. TypeError for what is no contract. */
  add(contract: AnyContract): void {
    planOf(contract);
    this.#contracts.push(contract);
    this.#tables = undefined;
  }

  /** Full names of the services, in order. */
  get services(): readonly string[] {
    return [...new Set(this.#contracts.map((contract) => planOf(contract).name))].sort();
  }

  file(name: string): DescFile | undefined {
    return this.#all().files.get(name);
  }

  /** The file that declares a service, method, message, field, oneof, enum, enum value or extension. */
  fileOfSymbol(name: string): DescFile | undefined {
    return this.#all().symbols.get(name);
  }

  fileOfExtension(typeName: string, number: number): DescFile | undefined {
    return this.#all().extensions.get(typeName)?.get(number);
  }

  /** Numbers of the extensions of a message; undefined for a message that is not known. */
  extensionNumbers(typeName: string): readonly number[] | undefined {
    const { extensions, messages } = this.#all();
    if (!messages.has(typeName)) return undefined;
    return [...(extensions.get(typeName)?.keys() ?? [])].sort((a, b) => a - b);
  }

  /**
   * The file, serialised, and then those that it needs, near ones first, less what `sent` names already. The file itself is always given: it was
   * asked for. Adds to `sent`. (grpc-go answers so too, and clients count on it: they ask for one symbol and get all of it.)
   */
  withDependencies(file: DescFile, sent: Set<string>): Uint8Array<ArrayBuffer>[] {
    const found: Uint8Array<ArrayBuffer>[] = [];
    const seen = new Set<DescFile>([file]);
    for (const one of seen) {
      const name = nameOf(one);
      if (one === file || !sent.has(name)) found.push(this.#encoded(one));
      sent.add(name);
      for (const needed of one.dependencies) seen.add(needed);
    }
    return found;
  }

  #encoded(file: DescFile): Uint8Array<ArrayBuffer> {
    let bytes = this.#bytes.get(file);
    if (bytes === undefined) {
      bytes = toBinary(FileDescriptorProtoSchema, file.proto);
      this.#bytes.set(file, bytes);
    }
    return bytes;
  }

  #all(): Tables {
    this.#tables ??= tablesOf(this.#contracts);
    return this.#tables;
  }
}

interface Tables {
  readonly files: Map<string, DescFile>;
  readonly symbols: Map<string, DescFile>;
  readonly messages: Set<string>;
  /** By the message that is extended, and number. */
  readonly extensions: Map<string, Map<number, DescFile>>;
}

function tablesOf(contracts: readonly AnyContract[]): Tables {
  const tables: Tables = { files: new Map(), symbols: new Map(), messages: new Set(), extensions: new Map() };
  // A contract without methods has no descriptors: its name is all there is to say.
  const files = new Set(contracts.flatMap((contract) => sourcesOf(contract).map(({ desc }) => desc.parent.file)));
  // Grows while it is gone through: a file's dependencies come after it.
  for (const file of files) {
    enterFile(tables, file);
    for (const needed of file.dependencies) files.add(needed);
  }
  return tables;
}

function enterFile(tables: Tables, file: DescFile): void {
  const name = nameOf(file);
  // Two files of one name cannot both be told of: who asks keeps them by their names. The first was there first.
  if (tables.files.has(name)) return;
  tables.files.set(name, file);
  for (const service of file.services) {
    tables.symbols.set(service.typeName, file);
    for (const method of service.methods) tables.symbols.set(`${service.typeName}.${method.name}`, file);
  }
  for (const one of file.messages) enterMessage(tables, file, one);
  for (const one of file.enums) enterEnum(tables, file, one);
  for (const one of file.extensions) enterExtension(tables, file, one);
}

function enterMessage(tables: Tables, file: DescFile, message: DescMessage): void {
  tables.messages.add(message.typeName);
  tables.symbols.set(message.typeName, file);
  for (const { name } of [...message.fields, ...message.oneofs])
    tables.symbols.set(`${message.typeName}.${name}`, file);
  for (const one of message.nestedMessages) enterMessage(tables, file, one);
  for (const one of message.nestedEnums) enterEnum(tables, file, one);
  for (const one of message.nestedExtensions) enterExtension(tables, file, one);
}

/** The values of an enum stand beside it, not in it (protobuf's scoping, as in C++). */
function enterEnum(tables: Tables, file: DescFile, one: DescEnum): void {
  const scope = one.typeName.slice(0, one.typeName.lastIndexOf(".") + 1);
  tables.symbols.set(one.typeName, file);
  for (const { name } of one.values) tables.symbols.set(scope + name, file);
}

function enterExtension(tables: Tables, file: DescFile, { typeName, extendee, number }: DescExtension): void {
  tables.symbols.set(typeName, file);
  let numbers = tables.extensions.get(extendee.typeName);
  if (numbers === undefined) {
    numbers = new Map();
    tables.extensions.set(extendee.typeName, numbers);
  }
  numbers.set(number, file);
}

/** As imports name it: `shop/v1/orders.proto`. */
function nameOf(file: DescFile): string {
  return file.proto.name;
}
