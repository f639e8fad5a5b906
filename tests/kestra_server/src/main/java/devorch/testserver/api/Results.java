package devorch.testserver.api;

import io.kestra.core.repositories.ArrayListTotal;
import io.micronaut.core.annotation.Introspected;

import java.util.List;

/** One page of a search. */
@Introspected
record Results<T>(List<T> results, long total) {
    static <T> Results<T> of(ArrayListTotal<T> page) {
        return new Results<>(page, page.getTotal());
    }
}
