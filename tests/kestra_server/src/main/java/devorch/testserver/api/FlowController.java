package devorch.testserver.api;

import io.kestra.core.models.QueryFilter;
import io.kestra.core.models.flows.Flow;
import io.kestra.core.models.flows.FlowInterface;
import io.kestra.core.models.flows.FlowSource;
import io.kestra.core.models.flows.FlowWithSource;
import io.kestra.core.models.flows.GenericFlow;
import io.kestra.core.models.validations.ValidateConstraintViolation;
import io.kestra.core.repositories.FlowRepositoryInterface;
import io.kestra.core.services.FlowService;
import io.micronaut.core.annotation.Nullable;
import io.micronaut.data.model.Pageable;
import io.micronaut.http.HttpRequest;
import io.micronaut.http.HttpStatus;
import io.micronaut.http.MediaType;
import io.micronaut.http.annotation.Body;
import io.micronaut.http.annotation.Consumes;
import io.micronaut.http.annotation.Controller;
import io.micronaut.http.annotation.Delete;
import io.micronaut.http.annotation.Get;
import io.micronaut.http.annotation.Post;
import io.micronaut.http.annotation.Put;
import io.micronaut.http.annotation.QueryValue;
import io.micronaut.http.annotation.Status;
import io.micronaut.scheduling.TaskExecutors;
import io.micronaut.scheduling.annotation.ExecuteOn;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.Optional;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;

/**
 * Flows, at the addresses of Kestra 2.0 (kestrapy 2.0, {@code flows_api.py}). Sources, revisions, validation and soft
 * deletes are the engine's own; statuses are those observed on Kestra, with 2.0's 409 for a flow that exists.
 */
@Controller("/api/v1/" + Tenant.MAIN + "/flows")
@ExecuteOn(TaskExecutors.IO)
class FlowController {
    private static final String YAML = "application/x-yaml";
    private static final Map<String, String> SORTABLE = Map.of("id", "id", "namespace", "namespace");

    private final FlowService service;
    private final FlowRepositoryInterface repository;

    FlowController(FlowService service, FlowRepositoryInterface repository) {
        this.service = service;
        this.repository = repository;
    }

    @Post
    @Consumes(YAML)
    FlowWithSource create(@Body String source) throws Exception {
        return service.create(GenericFlow.fromYaml(Tenant.MAIN, source));
    }

    /** A missing flow is told before the source is looked at (observed). */
    @Put("/{namespace}/{id}")
    @Consumes(YAML)
    FlowWithSource update(String namespace, String id, @Body String source) throws Exception {
        FlowWithSource previous = find(namespace, id, null, false);
        return service.update(GenericFlow.fromYaml(Tenant.MAIN, source), previous);
    }

    @Get("/{namespace}/{id}")
    FlowInterface get(
        String namespace,
        String id,
        @QueryValue(defaultValue = "false") boolean source,
        @Nullable @QueryValue Integer revision,
        @QueryValue(defaultValue = "false") boolean allowDeleted
    ) {
        if (source) {
            return find(namespace, id, revision, allowDeleted);
        }
        return repository.findById(Tenant.MAIN, namespace, id, Optional.ofNullable(revision), allowDeleted)
            .orElseThrow(() -> missing(namespace, id));
    }

    @Delete("/{namespace}/{id}")
    @Consumes(MediaType.ALL)
    @Status(HttpStatus.NO_CONTENT)
    void delete(String namespace, String id) {
        service.delete(find(namespace, id, null, false));
    }

    @Get("/{namespace}/{id}/revisions")
    List<FlowWithSource> revisions(String namespace, String id, @QueryValue(defaultValue = "true") boolean allowDelete) {
        return repository.findRevisions(Tenant.MAIN, namespace, id, allowDelete);
    }

    @Get("/{namespace}")
    List<Flow> list(String namespace) {
        return repository.findByNamespace(Tenant.MAIN, namespace);
    }

    @Get("/search")
    Results<Flow> search(HttpRequest<?> request) {
        Pageable page = Search.page(request, SORTABLE::get);
        return Results.of(repository.find(page, Tenant.MAIN, Search.filters(request, QueryFilter.Resource.FLOW)));
    }

    @Get("/distinct-namespaces")
    List<String> namespaces(@Nullable @QueryValue String q) {
        return repository.findDistinctNamespace(Tenant.MAIN, q);
    }

    /** One entry a flow, {@code <namespace>.<id>.yml}, its source byte for byte (observed). */
    @Get(uri = "/export/by-query", produces = MediaType.APPLICATION_OCTET_STREAM)
    byte[] export(HttpRequest<?> request) throws IOException {
        List<QueryFilter> filters = Search.filters(request, QueryFilter.Resource.FLOW);
        ByteArrayOutputStream content = new ByteArrayOutputStream();
        try (ZipOutputStream zip = new ZipOutputStream(content)) {
            for (FlowWithSource flow : repository.findWithSource(Pageable.UNPAGED, Tenant.MAIN, filters)) {
                zip.putNextEntry(new ZipEntry(flow.getNamespace() + "." + flow.getId() + ".yml"));
                zip.write(flow.getSource().getBytes(StandardCharsets.UTF_8));
                zip.closeEntry();
            }
        }
        return content.toByteArray();
    }

    /** Documents are separated by a newline and {@code ---}; the answer is 200 even for invalid ones (observed). */
    @Post("/validate")
    @Consumes(YAML)
    List<ValidateConstraintViolation> validate(@Body String sources) {
        return service.validate(Tenant.MAIN, Arrays.stream(sources.split("\\n+---\\n*?")).map(source -> new FlowSource(null, source)).toList());
    }

    private FlowWithSource find(String namespace, String id, @Nullable Integer revision, boolean allowDeleted) {
        return repository.findByIdWithSource(Tenant.MAIN, namespace, id, Optional.ofNullable(revision), allowDeleted)
            .orElseThrow(() -> missing(namespace, id));
    }

    private static NoSuchElementException missing(String namespace, String id) {
        return new NoSuchElementException("Flow '" + id + "' is not found in namespace '" + namespace + "'.");
    }
}
