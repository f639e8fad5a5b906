package devorch.testserver.api;

import io.kestra.core.exceptions.InvalidQueryFiltersException;
import io.kestra.core.models.QueryFilter;
import io.kestra.core.models.namespaces.NamespaceInterface;
import io.kestra.core.repositories.FlowRepositoryInterface;
import io.kestra.core.repositories.KvMetadataRepositoryInterface;
import io.kestra.core.repositories.NamespaceFileMetadataRepositoryInterface;
import io.micronaut.core.annotation.Introspected;
import io.micronaut.core.annotation.Nullable;
import io.micronaut.data.model.Pageable;
import io.micronaut.http.HttpRequest;
import io.micronaut.http.annotation.Body;
import io.micronaut.http.annotation.Controller;
import io.micronaut.http.annotation.Get;
import io.micronaut.http.annotation.Post;
import io.micronaut.http.annotation.QueryValue;
import io.micronaut.scheduling.TaskExecutors;
import io.micronaut.scheduling.annotation.ExecuteOn;

import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Predicate;

/**
 * Namespaces of the open-source edition, which keeps none: one exists because a flow, a key or a file is in it or below
 * it (kestrapy 2.0, {@code namespaces_api.py}).
 */
@Controller("/api/v1/" + Tenant.MAIN + "/namespaces")
@ExecuteOn(TaskExecutors.IO)
class NamespaceController {
    private final FlowRepositoryInterface flows;
    private final KvMetadataRepositoryInterface keys;
    private final NamespaceFileMetadataRepositoryInterface files;

    NamespaceController(FlowRepositoryInterface flows, KvMetadataRepositoryInterface keys, NamespaceFileMetadataRepositoryInterface files) {
        this.flows = flows;
        this.keys = keys;
        this.files = files;
    }

    /**
     * What a person has typed.
     *
     * @param ids namespaces that are in the answer whether they match or not
     */
    @Introspected
    record Autocomplete(@Nullable String q, @Nullable List<String> ids, @Nullable Boolean existingOnly) {
    }

    /**
     * A namespace; none is ever deleted in this edition.
     *
     * @param deleted demanded by the client's model
     */
    @Introspected
    record Namespace(String id, boolean deleted) {
    }

    @Get("/search")
    Results<Namespace> search(HttpRequest<?> request, @QueryValue(defaultValue = "false") boolean existing) {
        Pageable page = Search.page(request, name -> name.equals("id") ? name : null);
        List<String> found = names(existing).stream().filter(filter(request)).toList();
        int start = (int) Math.min(page.getOffset() - page.getSize(), found.size());
        int end = Math.min(start + page.getSize(), found.size());
        return new Results<>(found.subList(start, end).stream().map(NamespaceController::namespace).toList(), found.size());
    }

    /** There is none that does not exist (observed). */
    @Get("/{id}")
    Namespace get(String id) {
        return namespace(id);
    }

    @Post("/autocomplete")
    List<String> autocomplete(@Body Autocomplete request) {
        Set<String> found = new TreeSet<>(request.ids() == null ? List.of() : request.ids());
        names(Boolean.TRUE.equals(request.existingOnly())).stream().filter(contains(request.q())).forEach(found::add);
        return List.copyOf(found);
    }

    /** Those with something in them, and unless {@code existing} those above them. */
    private Set<String> names(boolean existing) {
        Set<String> found = new TreeSet<>(flows.findDistinctNamespace(Tenant.MAIN));
        found.addAll(keys.findDistinctNamespace(Tenant.MAIN));
        found.addAll(files.findDistinctNamespace(Tenant.MAIN));
        if (!existing) {
            List.copyOf(found).forEach(name -> found.addAll(NamespaceInterface.asTree(name)));
        }
        return found;
    }

    private static Predicate<String> filter(HttpRequest<?> request) {
        Predicate<String> all = contains(request.getParameters().get("q"));
        for (QueryFilter filter : Search.filters(request, QueryFilter.Resource.NAMESPACE)) {
            if (filter.field() != QueryFilter.Field.QUERY || filter.operation() != QueryFilter.Op.EQUALS) {
                throw new InvalidQueryFiltersException("The test server searches namespaces by q alone");
            }
            all = all.and(contains(String.valueOf(filter.value())));
        }
        return all;
    }

    private static Predicate<String> contains(@Nullable String text) {
        return name -> text == null || name.toLowerCase(Locale.ROOT).contains(text.toLowerCase(Locale.ROOT));
    }

    private static Namespace namespace(String id) {
        return new Namespace(id, false);
    }
}
