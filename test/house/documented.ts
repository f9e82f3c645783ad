/**
 * Which public declarations lack their documentation.
 */
import type { ExportedName } from "./doors.ts";
import type { Source, SyntaxNode } from "./source.ts";
import { docBefore, field, nodeField, nodesField, place, textField, visit } from "./source.ts";

/** What is missing for one exported name: its own doc, those of its options' fields, those of a class's public members. */
export function documentationFaults({ name, declaration }: ExportedName): readonly string[] {
  if (declaration === undefined) return [];
  const { source, node, start } = declaration;
  const faults: string[] = [];
  // An overload or a merged declaration is documented at its first statement; generated code carries its .proto's comments.
  if (source.path.includes("/gen/")) return [];
  if (docBefore(source, start) === undefined) faults.push(`${place(source, node)}: ${name} has no doc comment`);
  if (name.endsWith("Options")) faults.push(...optionFaults(source, node));
  if (node.type === "ClassDeclaration") faults.push(...memberFaults(source, node));
  return faults;
}

/** Every field of an options type says what it means; an optional one says its default. */
function optionFaults(source: Source, node: SyntaxNode): readonly string[] {
  const faults: string[] = [];
  visit(node, (member, parents) => {
    if (member.type !== "TSPropertySignature" && member.type !== "TSMethodSignature") return;
    // Fields of a nested callback's parameters are documented by the callback.
    if (parents.some(({ type }) => type === "TSFunctionType" || type === "TSMethodSignature")) return;
    const name = textField(nodeField(member, "key"), "name");
    const doc = docBefore(source, member.start);
    if (doc === undefined) faults.push(`${place(source, member)}: option ${name} has no doc comment`);
    else if (field(member, "optional") === true && !/\bdefaults?\b/i.test(doc))
      faults.push(`${place(source, member)}: the doc of option ${name} does not say its default`);
  });
  return faults;
}

function memberFaults(source: Source, node: SyntaxNode): readonly string[] {
  return nodesField(nodeField(node, "body"), "body").flatMap((member) => {
    const name = textField(nodeField(member, "key"), "name");
    const isPublic =
      ["PropertyDefinition", "MethodDefinition"].includes(member.type) &&
      field(member, "accessibility") !== "private" &&
      name !== "";
    const isOwn =
      name === "constructor" ||
      field(member, "override") === true ||
      nodeField(member, "key")?.type === "PrivateIdentifier";
    if (!isPublic || isOwn || docBefore(source, member.start) !== undefined) return [];
    return [`${place(source, member)}: ${name} has no doc comment`];
  });
}
