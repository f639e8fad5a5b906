package devorch.testserver.api;

import devorch.testserver.Dialect;

import io.kestra.core.models.flows.FlowWithSource;
import io.kestra.core.models.namespaces.files.NamespaceFileMetadata;
import io.kestra.core.namespace.NamespaceFileService;
import io.kestra.core.repositories.FlowRepositoryInterface;
import io.kestra.core.services.FlowService;
import io.kestra.core.storages.FileAttributes;
import io.kestra.core.storages.Namespace;
import io.kestra.core.storages.NamespaceFactory;
import io.kestra.core.storages.NamespaceFile;
import io.kestra.core.storages.NamespaceFileAttributes;
import io.kestra.core.storages.NamespaceFileRevision;
import io.kestra.core.storages.StorageInterface;
import io.micronaut.core.annotation.Nullable;
import io.micronaut.http.HttpHeaders;
import io.micronaut.http.HttpResponse;
import io.micronaut.http.MediaType;
import io.micronaut.http.annotation.Consumes;
import io.micronaut.http.annotation.Controller;
import io.micronaut.http.annotation.Delete;
import io.micronaut.http.annotation.Get;
import io.micronaut.http.annotation.Part;
import io.micronaut.http.annotation.Post;
import io.micronaut.http.annotation.Put;
import io.micronaut.http.annotation.QueryValue;
import io.micronaut.http.multipart.CompletedFileUpload;
import io.micronaut.http.server.types.files.StreamedFile;
import io.micronaut.scheduling.TaskExecutors;
import io.micronaut.scheduling.annotation.ExecuteOn;

import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.zip.ZipEntry;
import java.util.zip.ZipInputStream;
import java.util.zip.ZipOutputStream;

/**
 * The files of a namespace (kestrapy 2.0, {@code files_api.py}). What is stored, its revisions and what a path may be is
 * the engine's own; that archives are unpacked, that {@code _flows} stands for flows and that folders left empty go away
 * is Kestra's web server's (observed on 0.21).
 */
@Controller("/api/v1/" + Tenant.MAIN + "/namespaces/{namespace}/files")
@ExecuteOn(TaskExecutors.IO)
class NamespaceFileController {
    private static final String FLOWS = "/_flows/";

    private final NamespaceFactory namespaces;
    private final NamespaceFileService service;
    private final StorageInterface storage;
    private final FlowService flowService;
    private final FlowRepositoryInterface flows;
    private final Dialect dialect;

    NamespaceFileController(
        NamespaceFactory namespaces,
        NamespaceFileService service,
        StorageInterface storage,
        FlowService flowService,
        FlowRepositoryInterface flows,
        Dialect dialect
    ) {
        this.namespaces = namespaces;
        this.service = service;
        this.storage = storage;
        this.flowService = flowService;
        this.flows = flows;
        this.dialect = dialect;
    }

    @Get(produces = MediaType.APPLICATION_OCTET_STREAM)
    StreamedFile get(String namespace, @QueryValue String path, @Nullable @QueryValue Integer revision) throws IOException {
        return new StreamedFile(files(namespace).getFileContent(path(path), revision), MediaType.APPLICATION_OCTET_STREAM_TYPE);
    }

    /** An archive is unpacked at the root, whatever the path says (observed). */
    @Post
    @Consumes(MediaType.MULTIPART_FORM_DATA)
    void create(String namespace, @QueryValue String path, @Part CompletedFileUpload fileContent) throws Exception {
        try (InputStream content = fileContent.getInputStream()) {
            if (fileContent.getFilename().toLowerCase(Locale.ROOT).endsWith(".zip")) {
                unpack(namespace, content);
            } else {
                put(namespace, path, content);
            }
        }
    }

    private void unpack(String namespace, InputStream content) throws Exception {
        try (ZipInputStream archive = new ZipInputStream(content)) {
            for (ZipEntry entry = archive.getNextEntry(); entry != null; entry = archive.getNextEntry()) {
                if (!entry.isDirectory()) {
                    put(namespace, "/" + entry.getName(), new ByteArrayInputStream(archive.readAllBytes()));
                }
            }
        }
    }

    /** A file below {@code _flows} is a flow, and becomes one of this namespace whatever it says (observed). */
    private void put(String namespace, String path, InputStream content) throws Exception {
        String full = path.startsWith("/") ? path : "/" + path;
        if (!full.startsWith(FLOWS)) {
            files(namespace).putFile(path(full), content);
            return;
        }
        String source = new String(content.readAllBytes(), StandardCharsets.UTF_8);
        flowService.importFlow(Tenant.MAIN, source.replaceFirst("(?m)^namespace: .*$", "namespace: " + namespace));
    }

    @Put
    @Consumes(MediaType.ALL)
    void move(String namespace, @QueryValue String from, @QueryValue String to) throws Exception {
        files(namespace).move(path(from), path(to));
    }

    /** What is missing is deleted already; folders above that are left empty go with it (observed). */
    @Delete
    @Consumes(MediaType.ALL)
    void delete(String namespace, @QueryValue String path) throws IOException {
        Namespace files = files(namespace);
        Path target = NamespaceFile.normalize(path(path));
        files.delete(target);
        for (Path parent = target.getParent(); parent != null && parent.getNameCount() > 0; parent = parent.getParent()) {
            if (!files.children(parent + "/", false).isEmpty()) {
                break;
            }
            files.delete(parent);
        }
    }

    @Get("/directory")
    List<FileAttributes> list(String namespace, @Nullable @QueryValue String path) throws IOException {
        String parent = path == null ? "/" : path.endsWith("/") ? path : path + "/";
        return files(namespace).children(parent, false).stream().<FileAttributes>map(NamespaceFileAttributes::new).toList();
    }

    @Post("/directory")
    @Consumes(MediaType.ALL)
    void createDirectory(String namespace, @Nullable @QueryValue String path) throws IOException {
        files(namespace).createDirectory(path(path == null ? "/" : path));
    }

    @Get("/stats")
    FileAttributes stats(String namespace, @Nullable @QueryValue String path) throws IOException {
        return files(namespace).getFileMetadata(path(path == null ? "/" : path));
    }

    @Get("/revisions")
    List<NamespaceFileRevision> revisions(String namespace, @QueryValue String path) {
        return service.findRevisions(Tenant.MAIN, namespace, path(path).toString()).stream()
            .map(NamespaceFileMetadata::getRevision)
            .sorted(Comparator.naturalOrder())
            .map(NamespaceFileRevision::new)
            .toList();
    }

    /** Their full paths, each with a slash before it. */
    @Get("/search")
    List<String> search(String namespace, @QueryValue String q) throws IOException {
        return files(namespace).all(q.isEmpty() ? null : q).stream().map(file -> NamespaceFile.normalize(Path.of(file.path())).toString()).sorted().toList();
    }

    /** Files by their paths, and the flows of the namespace below {@code _flows}. */
    @Get(uri = "/export", produces = MediaType.APPLICATION_OCTET_STREAM)
    HttpResponse<byte[]> export(String namespace) throws IOException {
        Namespace files = files(namespace);
        ByteArrayOutputStream content = new ByteArrayOutputStream();
        try (ZipOutputStream zip = new ZipOutputStream(content)) {
            for (NamespaceFile file : files.all(null)) {
                try (InputStream stored = files.getFileContent(Path.of(file.path()))) {
                    zip.putNextEntry(new ZipEntry(file.path()));
                    stored.transferTo(zip);
                }
            }
            for (FlowWithSource flow : flows.findByNamespaceWithSource(Tenant.MAIN, namespace)) {
                zip.putNextEntry(new ZipEntry(FLOWS.substring(1) + flow.getId() + ".yml"));
                zip.write(flow.getSource().getBytes(StandardCharsets.UTF_8));
            }
        }
        return HttpResponse.ok(content.toByteArray())
            .header(HttpHeaders.CONTENT_DISPOSITION, "attachment; filename=\"" + namespace + "_files.zip\"");
    }

    private Namespace files(String namespace) {
        return namespaces.of(Tenant.MAIN, namespace, storage);
    }

    /** Before 2.0 a blank is stored as a plus sign (observed on 0.21); flows are no files. */
    private Path path(String text) {
        String full = text.startsWith("/") ? text : "/" + text;
        if (full.startsWith(FLOWS)) {
            throw new IllegalArgumentException("Forbidden path: " + full);
        }
        return Path.of(dialect.isOld() ? full.replace(' ', '+') : full);
    }
}
