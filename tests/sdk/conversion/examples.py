"""One small fitted example of every family that the reference page names."""

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn import (
    calibration,
    cluster,
    compose,
    covariance,
    cross_decomposition,
    decomposition,
    discriminant_analysis,
    ensemble,
    feature_extraction,
    feature_selection,
    gaussian_process,
    impute,
    isotonic,
    linear_model,
    mixture,
    model_selection,
    multiclass,
    multioutput,
    naive_bayes,
    neighbors,
    neural_network,
    pipeline,
    preprocessing,
    semi_supervised,
    svm,
    tree,
)

from tests.sdk.conversion.data import (
    Example,
    after,
    alone,
    binary,
    few_numbers,
    flowers,
    frame,
    mixed_preprocessing,
    numbers,
    on,
    one_column,
    several,
    texts,
    two_categories,
    two_targets,
    whole_numbers,
    with_gaps,
)

lm, ens = linear_model, ensemble
KERNEL = gaussian_process.kernels.RBF(1.0) + gaussian_process.kernels.WhiteKernel(0.5)


def _lightgbm(name: str, data: Callable[[], tuple[Any, Any]]) -> Example:
    import lightgbm

    return on(data, getattr(lightgbm, name)(n_estimators=8, verbose=-1, n_jobs=1))


def _xgboost(name: str, data: Callable[[], tuple[Any, Any]]) -> Example:
    import xgboost

    return on(data, getattr(xgboost, name)(n_estimators=8, n_jobs=1))


EXAMPLES: dict[str, Callable[[], Example]] = {
    # linear classifiers
    "LogisticRegression": lambda: on(binary, lm.LogisticRegression(max_iter=3000)),
    "LogisticRegressionCV": lambda: on(
        flowers,
        lm.LogisticRegressionCV(
            Cs=2, cv=2, max_iter=500, l1_ratios=(0,), use_legacy_attributes=False
        ),
    ),
    "RidgeClassifier": lambda: on(several, lm.RidgeClassifier()),
    "RidgeClassifierCV": lambda: on(binary, lm.RidgeClassifierCV()),
    "SGDClassifier": lambda: on(several, lm.SGDClassifier(loss="log_loss"), scaled=True),
    "Perceptron": lambda: on(binary, lm.Perceptron(), scaled=True),
    "LinearSVC": lambda: on(several, svm.LinearSVC(), scaled=True),
    # linear regressors
    "LinearRegression": lambda: on(numbers, lm.LinearRegression()),
    "Ridge": lambda: on(numbers, lm.Ridge()),
    "RidgeCV": lambda: on(numbers, lm.RidgeCV()),
    "Lasso": lambda: on(numbers, lm.Lasso(0.1)),
    "LassoCV": lambda: on(numbers, lm.LassoCV(cv=2)),
    "LassoLars": lambda: on(numbers, lm.LassoLars(0.1)),
    "ElasticNet": lambda: on(numbers, lm.ElasticNet(0.01)),
    "ElasticNetCV": lambda: on(numbers, lm.ElasticNetCV(cv=2)),
    "Lars": lambda: on(numbers, lm.Lars()),
    "OrthogonalMatchingPursuit": lambda: on(numbers, lm.OrthogonalMatchingPursuit()),
    "BayesianRidge": lambda: on(numbers, lm.BayesianRidge()),
    "ARDRegression": lambda: on(numbers, lm.ARDRegression()),
    "HuberRegressor": lambda: on(numbers, lm.HuberRegressor(max_iter=2000)),
    "QuantileRegressor": lambda: on(numbers, lm.QuantileRegressor(alpha=0.01)),
    "TheilSenRegressor": lambda: on(numbers, lm.TheilSenRegressor(max_subpopulation=100)),
    "RANSACRegressor": lambda: on(numbers, lm.RANSACRegressor(random_state=0)),
    "SGDRegressor": lambda: on(numbers, lm.SGDRegressor(), scaled=True),
    "PoissonRegressor": lambda: on(numbers, lm.PoissonRegressor(max_iter=1000)),
    "GammaRegressor": lambda: on(numbers, lm.GammaRegressor(max_iter=1000)),
    "TweedieRegressor": lambda: on(numbers, lm.TweedieRegressor(power=1.5, max_iter=1000)),
    "MultiTaskLasso": lambda: on(two_targets, lm.MultiTaskLasso(0.1)),
    "LinearSVR": lambda: on(numbers, svm.LinearSVR(), scaled=True),
    # trees and ensembles
    "DecisionTreeClassifier": lambda: on(binary, tree.DecisionTreeClassifier(max_depth=5)),
    "DecisionTreeRegressor": lambda: on(numbers, tree.DecisionTreeRegressor(max_depth=5)),
    "ExtraTreeClassifier": lambda: on(several, tree.ExtraTreeClassifier(max_depth=5)),
    "ExtraTreeRegressor": lambda: on(numbers, tree.ExtraTreeRegressor(max_depth=5)),
    "RandomForestClassifier": lambda: on(several, ens.RandomForestClassifier(8, max_depth=5)),
    "RandomForestRegressor": lambda: on(numbers, ens.RandomForestRegressor(8, max_depth=5)),
    "ExtraTreesClassifier": lambda: on(several, ens.ExtraTreesClassifier(8, max_depth=5)),
    "ExtraTreesRegressor": lambda: on(two_targets, ens.ExtraTreesRegressor(8, max_depth=5)),
    "GradientBoostingClassifier": lambda: on(
        binary, ens.GradientBoostingClassifier(n_estimators=8), scaled=True
    ),
    "GradientBoostingRegressor": lambda: on(numbers, ens.GradientBoostingRegressor(n_estimators=8)),
    "HistGradientBoostingClassifier": lambda: on(
        with_gaps, ens.HistGradientBoostingClassifier(max_iter=8)
    ),
    "HistGradientBoostingRegressor": lambda: on(
        numbers, ens.HistGradientBoostingRegressor(max_iter=8, loss="poisson")
    ),
    "AdaBoostClassifier": lambda: on(several, ens.AdaBoostClassifier(n_estimators=5)),
    "AdaBoostRegressor": lambda: on(numbers, ens.AdaBoostRegressor(n_estimators=5)),
    "BaggingClassifier": lambda: on(several, ens.BaggingClassifier(n_estimators=4)),
    "BaggingRegressor": lambda: on(numbers, ens.BaggingRegressor(n_estimators=4)),
    "VotingClassifier": lambda: on(
        several,
        ens.VotingClassifier(
            [
                ("lda", discriminant_analysis.LinearDiscriminantAnalysis()),
                ("tree", tree.DecisionTreeClassifier(max_depth=3)),
            ],
            voting="soft",
            weights=[1, 2],
        ),
    ),
    "VotingRegressor": lambda: on(
        numbers,
        ens.VotingRegressor([("a", lm.Ridge()), ("b", tree.DecisionTreeRegressor(max_depth=3))]),
    ),
    "StackingClassifier": lambda: on(
        binary,
        ens.StackingClassifier(
            [("nb", naive_bayes.GaussianNB()), ("tree", tree.DecisionTreeClassifier(max_depth=3))],
            final_estimator=lm.LogisticRegression(),
            cv=2,
        ),
    ),
    "StackingRegressor": lambda: on(
        numbers,
        ens.StackingRegressor(
            [("a", lm.Ridge()), ("b", tree.DecisionTreeRegressor(max_depth=3))],
            final_estimator=lm.Ridge(),
            cv=2,
        ),
    ),
    # support vectors
    "SVC": lambda: on(several, svm.SVC(), scaled=True),
    "NuSVC": lambda: on(binary, svm.NuSVC(nu=0.2), scaled=True),
    "SVR": lambda: on(numbers, svm.SVR(C=100.0), scaled=True),
    "NuSVR": lambda: on(numbers, svm.NuSVR(C=100.0), scaled=True),
    # neighbours
    "KNeighborsClassifier": lambda: on(several, neighbors.KNeighborsClassifier()),
    "KNeighborsRegressor": lambda: on(numbers, neighbors.KNeighborsRegressor(weights="distance")),
    # naive Bayes
    "GaussianNB": lambda: on(flowers, naive_bayes.GaussianNB()),
    "MultinomialNB": lambda: on(several, naive_bayes.MultinomialNB()),
    "BernoulliNB": lambda: on(flowers, naive_bayes.BernoulliNB(binarize=2.0)),
    "ComplementNB": lambda: on(flowers, naive_bayes.ComplementNB()),
    "CategoricalNB": lambda: on(whole_numbers, naive_bayes.CategoricalNB(min_categories=10)),
    # neural networks, discriminants, Gaussian processes
    "MLPClassifier": lambda: on(
        flowers, neural_network.MLPClassifier((8,), max_iter=2000, tol=1e-2)
    ),
    "MLPRegressor": lambda: on(
        numbers,
        neural_network.MLPRegressor(hidden_layer_sizes=(8,), max_iter=2000, tol=100.0),
        scaled=True,
    ),
    "LinearDiscriminantAnalysis": lambda: on(
        several, discriminant_analysis.LinearDiscriminantAnalysis()
    ),
    "QuadraticDiscriminantAnalysis": lambda: on(
        flowers, discriminant_analysis.QuadraticDiscriminantAnalysis()
    ),
    "GaussianProcessRegressor": lambda: on(
        few_numbers,
        gaussian_process.GaussianProcessRegressor(KERNEL, optimizer=None, normalize_y=True),
    ),
    # meta-estimators
    "CalibratedClassifierCV": lambda: on(
        several, calibration.CalibratedClassifierCV(lm.RidgeClassifier(), cv=2), scaled=True
    ),
    "OneVsRestClassifier": lambda: on(
        flowers, multiclass.OneVsRestClassifier(lm.LogisticRegression(max_iter=500))
    ),
    "OneVsOneClassifier": lambda: on(
        flowers, multiclass.OneVsOneClassifier(lm.LogisticRegression(max_iter=500))
    ),
    "MultiOutputRegressor": lambda: on(two_targets, multioutput.MultiOutputRegressor(lm.Ridge())),
    "GridSearchCV": lambda: on(
        binary,
        model_selection.GridSearchCV(
            tree.DecisionTreeClassifier(random_state=0), {"max_depth": [2, 3]}, cv=2
        ),
    ),
    "RandomizedSearchCV": lambda: on(
        binary,
        model_selection.RandomizedSearchCV(
            naive_bayes.GaussianNB(), {"var_smoothing": [1e-9, 1e-8]}, n_iter=2, cv=2
        ),
    ),
    "TransformedTargetRegressor": lambda: on(
        numbers,
        compose.TransformedTargetRegressor(lm.Ridge(), func=np.log1p, inverse_func=np.expm1),
    ),
    "FixedThresholdClassifier": lambda: on(
        binary, model_selection.FixedThresholdClassifier(naive_bayes.GaussianNB(), threshold=0.8)
    ),
    "TunedThresholdClassifierCV": lambda: on(
        binary, model_selection.TunedThresholdClassifierCV(naive_bayes.GaussianNB(), cv=2)
    ),
    "SelfTrainingClassifier": lambda: on(
        binary, semi_supervised.SelfTrainingClassifier(naive_bayes.GaussianNB())
    ),
    # outliers and clusters
    "IsolationForest": lambda: on(binary, ens.IsolationForest(n_estimators=8, random_state=0)),
    "OneClassSVM": lambda: on(several, svm.OneClassSVM(), scaled=True),
    "SGDOneClassSVM": lambda: on(several, lm.SGDOneClassSVM(random_state=0), scaled=True),
    "LocalOutlierFactor": lambda: on(flowers, neighbors.LocalOutlierFactor(novelty=True)),
    "EllipticEnvelope": lambda: on(flowers, covariance.EllipticEnvelope(random_state=0)),
    "KMeans": lambda: on(several, cluster.KMeans(3, n_init=1, random_state=0)),
    "MiniBatchKMeans": lambda: on(flowers, cluster.MiniBatchKMeans(3, n_init=1, random_state=0)),
    "MeanShift": lambda: on(flowers, cluster.MeanShift(bandwidth=2.0)),
    "AffinityPropagation": lambda: on(
        flowers, cluster.AffinityPropagation(random_state=0, preference=-50)
    ),
    "GaussianMixture": lambda: on(flowers, mixture.GaussianMixture(3, random_state=0)),
    "BayesianGaussianMixture": lambda: on(
        flowers, mixture.BayesianGaussianMixture(n_components=3, random_state=0, max_iter=500)
    ),
    # other regressors
    "IsotonicRegression": lambda: on(
        one_column(numbers), isotonic.IsotonicRegression(out_of_bounds="clip")
    ),
    "PLSRegression": lambda: on(numbers, cross_decomposition.PLSRegression(2)),
    # transformers
    "StandardScaler": lambda: alone(preprocessing.StandardScaler()),
    "MinMaxScaler": lambda: after(preprocessing.MinMaxScaler(clip=True)),
    "MaxAbsScaler": lambda: alone(preprocessing.MaxAbsScaler()),
    "RobustScaler": lambda: after(preprocessing.RobustScaler()),
    "Normalizer": lambda: alone(preprocessing.Normalizer()),
    "Binarizer": lambda: alone(preprocessing.Binarizer(threshold=2.0)),
    "PolynomialFeatures": lambda: after(preprocessing.PolynomialFeatures(2), flowers),
    "PowerTransformer": lambda: after(preprocessing.PowerTransformer()),
    "QuantileTransformer": lambda: after(
        preprocessing.QuantileTransformer(n_quantiles=20), flowers
    ),
    "KBinsDiscretizer": lambda: after(
        preprocessing.KBinsDiscretizer(
            4, encode="onehot-dense", quantile_method="averaged_inverted_cdf"
        ),
        flowers,
    ),
    "FunctionTransformer": lambda: after(preprocessing.FunctionTransformer(np.log1p)),
    "OneHotEncoder": lambda: alone(
        preprocessing.OneHotEncoder(handle_unknown="ignore", drop="if_binary"), two_categories
    ),
    "OrdinalEncoder": lambda: alone(
        preprocessing.OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1),
        two_categories,
    ),
    "SimpleImputer": lambda: after(impute.SimpleImputer(add_indicator=True), with_gaps),
    "PCA": lambda: after(decomposition.PCA(3)),
    "IncrementalPCA": lambda: alone(decomposition.IncrementalPCA(2)),
    "TruncatedSVD": lambda: alone(decomposition.TruncatedSVD(2)),
    "KernelPCA": lambda: alone(decomposition.KernelPCA(2, kernel="rbf")),
    "NeighborhoodComponentsAnalysis": lambda: alone(
        neighbors.NeighborhoodComponentsAnalysis(2, max_iter=20)
    ),
    "SelectKBest": lambda: after(feature_selection.SelectKBest(k=4)),
    "SelectPercentile": lambda: alone(feature_selection.SelectPercentile(percentile=50)),
    "SelectFromModel": lambda: after(
        feature_selection.SelectFromModel(tree.DecisionTreeClassifier())
    ),
    "VarianceThreshold": lambda: alone(feature_selection.VarianceThreshold(0.3)),
    "RFE": lambda: on(
        flowers, feature_selection.RFE(lm.LogisticRegression(max_iter=500), n_features_to_select=2)
    ),
    "SequentialFeatureSelector": lambda: after(
        feature_selection.SequentialFeatureSelector(
            naive_bayes.GaussianNB(), n_features_to_select=2, cv=2
        ),
        flowers,
    ),
    "TfidfVectorizer": lambda: on(
        texts,
        pipeline.make_pipeline(feature_extraction.text.TfidfVectorizer(), lm.LogisticRegression()),
    ),
    "CountVectorizer": lambda: on(
        texts,
        pipeline.make_pipeline(
            feature_extraction.text.CountVectorizer(ngram_range=(1, 2)), naive_bayes.MultinomialNB()
        ),
    ),
    "ColumnTransformer": lambda: on(
        frame, pipeline.make_pipeline(mixed_preprocessing(), lm.LogisticRegression())
    ),
    "FeatureUnion": lambda: after(
        pipeline.FeatureUnion(
            [("pca", decomposition.PCA(2)), ("best", feature_selection.SelectKBest(k=2))]
        )
    ),
    "Pipeline": lambda: on(
        frame,
        pipeline.Pipeline(
            [
                ("prep", mixed_preprocessing()),
                ("model", ens.GradientBoostingClassifier(n_estimators=8)),
            ]
        ),
    ),
    # boosting libraries
    "LGBMClassifier": lambda: _lightgbm("LGBMClassifier", several),
    "LGBMRegressor": lambda: _lightgbm("LGBMRegressor", numbers),
    "XGBClassifier": lambda: _xgboost("XGBClassifier", binary),
    "XGBRegressor": lambda: _xgboost("XGBRegressor", numbers),
}
